"""The super-resolution service."""
