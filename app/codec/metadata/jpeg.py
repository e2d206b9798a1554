"""Metadata segments for a JPEG, and the limits of its 64 KiB segments and its 16-bit density."""

import struct

from app.codec.metadata import iptc, xmp_packet
from app.codec.metadata.blocks import EXIF_PREFIX, XMP_PREFIX
from app.codec.types import Metadata

EXTENSION_PREFIX = b"http://ns.adobe.com/xmp/extension/\0"
PHOTOSHOP_PREFIX = b"Photoshop 3.0\0"
PROFILE_PREFIX = b"ICC_PROFILE\0"
_SEGMENT = 65_533  # bytes that may follow the length field
_ICC_SEGMENTS, _ICC_HEAD = 255, 14
_APP1, _APP13 = 0xE1, 0xED


def holds(dpi: tuple[float, float]) -> bool:
    """Whether JFIF's density field can hold this resolution."""
    return all(1 <= round(value) <= 65_535 for value in dpi)


def has_room(name: str, block: bytes) -> bool:
    """Whether a block fits: a profile may span many segments; EXIF and IPTC must each fit into one."""
    if name == "icc":
        return len(block) <= _ICC_SEGMENTS * (_SEGMENT - _ICC_HEAD)
    head = len(EXIF_PREFIX) if name == "exif" else len(PHOTOSHOP_PREFIX) + len(iptc.as_resource(b"")) + 1
    return len(block) <= _SEGMENT - head


def segments(metadata: Metadata) -> bytes:
    """The segments of XMP, with an extension where one segment is too small, and of IPTC."""
    parts = []
    if metadata.xmp is not None:
        main, extension, name = xmp_packet.split(metadata.xmp, _SEGMENT - len(XMP_PREFIX))
        parts.append(_segment(_APP1, XMP_PREFIX + main))
        step = _SEGMENT - len(EXTENSION_PREFIX) - len(name) - 8
        for at in range(0, len(extension), step):
            head = EXTENSION_PREFIX + name + struct.pack(">II", len(extension), at)
            parts.append(_segment(_APP1, head + extension[at : at + step]))
    if metadata.iptc is not None:
        parts.append(_segment(_APP13, PHOTOSHOP_PREFIX + iptc.as_resource(metadata.iptc)))
    return b"".join(parts)


def joined_profile(parts: list[bytes]) -> bytes | None:
    """The profile in these parts, each of which starts with its number and how many there are. (ICC.1:2022, B.4.)

    None if one is missing, or there twice.
    """
    numbers, counts = {part[0] for part in parts}, {part[1] for part in parts}
    if len(numbers) != len(parts) or counts != {len(parts)}:
        return None
    return b"".join(part[2:] for part in sorted(parts))


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body
