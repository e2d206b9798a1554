"""Which picture format a file is in, from its first bytes and never from its name."""

from app.errors import UnsupportedFormat

AVIF_BRANDS = (b"avif", b"avis")


def format_of(data: bytes) -> str | None:
    """The format's name as in `INPUT_FORMATS`, or None."""
    head = data[:32]
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if head[:2] == b"BM":
        return "BMP"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if head[4:8] == b"ftyp" and _is_avif(data):
        return "AVIF"
    return None


def _is_avif(data: bytes) -> bool:
    size = min(int.from_bytes(data[:4], "big"), 256)
    return data[8:12] in AVIF_BRANDS or any(data[at : at + 4] in AVIF_BRANDS for at in range(16, size, 4))


def accepted_format(data: bytes, formats: tuple[str, ...]) -> str:
    """The format of `data`, or UnsupportedFormat that names what is accepted."""
    found = format_of(data)
    if found in formats:
        return str(found)
    if not data:
        raise UnsupportedFormat(f"The picture is empty (0 bytes). Send one of: {', '.join(formats)}.")
    what = f"{found} is not accepted here" if found else "The bytes are not a picture in an accepted format"
    raise UnsupportedFormat(f"{what}. Accepted formats: {', '.join(formats)}.")
