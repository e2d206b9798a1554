"""From the blocks of a file to what travels on: orientation, kept metadata, and notes on what could not be read."""

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
    """What travels along but for the profile, and the orientation, 1..8, to be applied to the pixels."""

    metadata: Metadata
    orientation: int

    @property
    def turned(self) -> bool:
        """Whether height and width change places."""
        return self.orientation in _QUARTER_TURNS


def carried(blocks: Blocks, choice: Choice, container: int | None = None) -> Carried:
    """What `choice` keeps of the blocks. Never raises: what cannot be read is left out, and a note says so.

    The orientation is EXIF's, or else XMP's. In a format that has one of its own it is that one, `container`; only
    where that says 1 and EXIF says nothing, XMP is asked.
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
        if orientation is None and told not in (None, 1):  # whatever it says of the picture's sides is to be turned
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
    """Lines of every packet, and the orientation of the first that tells one."""
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
    """The orientation, 1..8, that Pillow reckons from an AVIF's own properties."""
    value = image.getexif().get(Base.Orientation, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def dpi_of(value: Any, swapped: bool) -> tuple[float, float] | None:
    """(vertical, horizontal) pixels per inch from (x, y); None where it makes no sense. `swapped`: a quarter turn."""
    try:
        x, y = (float(part) for part in value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if not all(math.isfinite(part) and 0 < part < 1e6 for part in (x, y)):
        return None
    return (x, y) if swapped else (y, x)
