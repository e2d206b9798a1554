"""Raw profiles: metadata blocks as hexadecimal text in a PNG, as ImageMagick and ExifTool write them."""

KEYWORD = b"Raw profile type "
_COLUMNS = 36  # bytes a line


def parsed(text: bytes) -> bytes | None:
    """The block in a text like "\\nIPTC profile\\n      12\\n3842494d0404...\\n"; None if the text has another form."""
    parts = text.split(b"\n", 3)
    if len(parts) < 4:
        return None
    try:
        return bytes.fromhex(parts[3].decode("ascii"))
    except ValueError:
        return None


def text(name: str, block: bytes) -> bytes:
    """The text of a block."""
    return b"\n%b profile\n%8d\n%b\n" % (name.encode(), len(block), block.hex("\n", -_COLUMNS).encode())
