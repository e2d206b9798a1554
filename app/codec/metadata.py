"""What travels with a picture besides its pixels: which of it is kept, and how it is made to fit the result."""

import math
import re
from typing import Any, Literal

from PIL import Image

from app.codec.types import Metadata

ORIENTATION, X_RESOLUTION, Y_RESOLUTION = 0x0112, 0x011A, 0x011B
EXIF_IFD, GPS_IFD, MAKER_NOTE = 0x8769, 0x8825, 0x927C
PIXEL_WIDTH, PIXEL_HEIGHT = 0xA002, 0xA003
# Of the main directory, what describes the picture and not the file's layout: description, maker, model, resolution
# and its unit, software, dates, people, rating, copyright.
_DESCRIPTIVE = (
    0x010E,
    0x010F,
    0x0110,
    X_RESOLUTION,
    Y_RESOLUTION,
    0x0128,
    0x0131,
    0x0132,
    0x013B,
    0x013C,
    0x4746,
    0x8298,
)
_XMP_GPS = re.compile(
    rb"\s[\w.-]+:GPS\w*\s*=\s*(\"[^\"]*\"|'[^']*')|<([\w.-]+:GPS\w*)\b[^>]*?(/>|>.*?</\2\s*>)", re.DOTALL
)
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:\s*=\s*[\"']|>))\d")


def orientation_of(exif: Image.Exif) -> int:
    """The EXIF orientation, 1..8; 1 where it is absent or nonsense."""
    value = exif.get(ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def kept_exif(exif: Image.Exif, choice: Literal["drop", "keep", "all"]) -> bytes | None:
    """The TIFF structure of what is kept: no orientation, no preview, no maker note; GPS only for "all".

    Maker notes go because they hold offsets that no rewriting survives, and often a position too.
    """
    kept = Image.Exif()
    for tag in _DESCRIPTIVE:
        if tag in exif:
            kept[tag] = exif[tag]
    details = {tag: value for tag, value in exif.get_ifd(EXIF_IFD).items() if tag != MAKER_NOTE}
    if details:
        kept.get_ifd(EXIF_IFD).update(details)
    gps = exif.get_ifd(GPS_IFD) if choice == "all" else {}
    if gps:
        kept.get_ifd(GPS_IFD).update(gps)
    return _packed(kept) if len(kept) or details or gps else None


def _packed(exif: Image.Exif) -> bytes | None:
    try:
        return exif.tobytes(8).removeprefix(b"Exif\0\0")
    except Exception:  # values of a type that EXIF has no room for: such a block is dropped, the picture is not lost
        return None


def kept_xmp(packet: bytes | str | None, choice: Literal["drop", "keep", "all"]) -> bytes | None:
    """The packet with its orientation reset and, but for "all", without positions; None if that cannot be made sure."""
    if not packet:
        return None
    body = packet.encode() if isinstance(packet, str) else bytes(packet)
    body = body.rstrip(b"\0")
    try:
        body.decode()
    except UnicodeDecodeError:
        return None
    body = _XMP_ORIENTATION.sub(rb"\g<1>1", body)
    if choice == "all":
        return body
    body = _XMP_GPS.sub(b"", body)
    return None if b"GPS" in body else body


def dpi_of(value: Any, swapped: bool) -> tuple[float, float] | None:
    """(vertical, horizontal) pixels per inch from Pillow's (x, y); None where it makes no sense."""
    try:
        x, y = (float(part) for part in value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if not all(math.isfinite(part) and 0 < part < 1e6 for part in (x, y)):
        return None
    return (x, y) if swapped else (y, x)


def scaled(metadata: Metadata, scale: int, height: int, width: int) -> Metadata:
    """The metadata of the result, `height` x `width`: its resolution is `scale` times the source's."""
    dpi = None if metadata.dpi is None else (metadata.dpi[0] * scale, metadata.dpi[1] * scale)
    exif = metadata.exif
    if exif is not None:
        tags = Image.Exif()
        tags.load(exif)
        details = tags.get_ifd(EXIF_IFD)
        for tag, size in ((PIXEL_WIDTH, width), (PIXEL_HEIGHT, height)):
            if tag in details:
                details[tag] = size
        for tag in (X_RESOLUTION, Y_RESOLUTION):
            if tag in tags:
                tags[tag] = float(tags[tag]) * scale
        exif = _packed(tags)
    return Metadata(icc=metadata.icc, srgb=metadata.srgb, exif=exif, xmp=metadata.xmp, dpi=dpi)
