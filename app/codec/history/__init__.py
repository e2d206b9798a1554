"""What lossy compression a picture has been through: from its file's headers, or from its pixels."""
