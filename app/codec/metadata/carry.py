"""Filters the blocks of a file, and finds the orientation of its picture."""

import math
from dataclasses import dataclass
from typing import Any

from PIL import Image
from PIL.ExifTags import Base

from app.codec.metadata import exif, iptc, xmp, xmp_packet
from app.codec.metadata.blocks import TOO_LARGE, UNREADABLE, Blocks, note
from app.codec.metadata.directories import Unreadable
from app.codec.metadata.exif import Choice, Exif
from app.codec.types import Metadata

_QUARTER_TURNS = (5, 6, 7, 8)


@dataclass(frozen=True, slots=True)
class Carried:
    """The kept metadata without a profile, and the orientation, 1..8, to apply to the pixels."""

    metadata: Metadata
    orientation: int

    @property
    def turned(self) -> bool:
        """Whether height and width are exchanged."""
        return self.orientation in _QUARTER_TURNS


def carried(blocks: Blocks, choice: Choice, container: int | None = None) -> Carried:
    """What `choice` keeps of the blocks. Never raises: what cannot be read is left out and noted in `dropped`.

    The orientation is EXIF's, or else XMP's. `container` is that of a format with an orientation of its own, which
    overrides EXIF; if it is 1 and EXIF has none, XMP's is used.
    """
    dropped = list(blocks.dropped)
    found = Exif({}, None, True)
    if blocks.exif:
        try:
            found = exif.read(blocks.exif, choice)
        except Unreadable:
            dropped.append(note("exif", UNREADABLE))
    orientation = found.orientation
    if container is not None and (container != 1 or orientation is not None):
        orientation = container
    lines: list[str] = []
    if orientation is None or choice != "drop":
        lines, told = _xmp(blocks.xmp, choice, orientation or 1, dropped)
        if orientation is None and told not in (None, 1):  # the axes of its resolutions have to be exchanged
            lines, orientation = _xmp(blocks.xmp, choice, told, dropped)
        orientation = orientation or 1
    if choice == "drop":
        return Carried(Metadata(dropped=_once(dropped)), orientation)
    if not found.sound:
        dropped.append(note("exif tags", UNREADABLE))
    turned = orientation in _QUARTER_TURNS
    kept = exif.turned(found.kept) if turned else found.kept
    metadata = Metadata(
        exif=exif.block(kept),
        xmp=xmp_packet.packet(lines),
        iptc=_iptc(blocks.iptc, choice, dropped),
        dpi=dpi_of(exif.dpi(found.kept), turned),
        dropped=_once(dropped),
    )
    return Carried(metadata, orientation)


def _xmp(
    packets: tuple[bytes, ...], choice: Choice, orientation: int, dropped: list[str]
) -> tuple[list[str], int | None]:
    """The lines of all packets, and the first orientation stated."""
    lines: list[str] = []
    told: int | None = None
    for name, packet in zip(("xmp", "xmp extension"), packets, strict=False):
        try:
            found = xmp.read(packet, choice, orientation)
        except Unreadable:
            dropped.append(note(name, UNREADABLE))
        except xmp.TooLarge:
            dropped.append(note(name, TOO_LARGE))
        else:
            lines += found.lines
            told = told or found.orientation
    return lines, told


def _iptc(data: bytes | None, choice: Choice, dropped: list[str]) -> bytes | None:
    if not data:
        return None
    if len(data) > iptc.MAX_BYTES:
        dropped.append(note("iptc", TOO_LARGE))
        return None
    try:
        return iptc.kept(data, choice)
    except Unreadable:
        dropped.append(note("iptc", UNREADABLE))
        return None


def _once(notes: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(notes))


def orientation_of(image: Image.Image) -> int:
    """The orientation, 1..8, that Pillow derives from the transformation properties of an AVIF."""
    value = image.getexif().get(Base.Orientation, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def dpi_of(value: Any, swapped: bool) -> tuple[float, float] | None:
    """(vertical, horizontal) pixels per inch from (x, y); None if invalid. `swapped`: turned by 90 or 270 degrees."""
    try:
        x, y = (float(part) for part in value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if not all(math.isfinite(part) and 0 < part < 1e6 for part in (x, y)):
        return None
    return (x, y) if swapped else (y, x)
