"""The metadata blocks of a file as found, and the notes about those that were left out."""

from dataclasses import dataclass, field

EXIF_PREFIX = b"Exif\0\0"
XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"
UNREADABLE, TOO_LARGE, DAMAGED, MISPLACED = "unreadable", "too large", "damaged", "misplaced"
UNUSABLE = "not for these samples"
"""Of a profile that is none, or is for other colours."""


def note(block: str, reason: str) -> str:
    """What X-Upscale-Metadata says about a block that was left out."""
    return f"{block} dropped ({reason})"


@dataclass(slots=True)
class Blocks:
    """`exif` is a TIFF structure or a whole TIFF file, `xmp` a packet and its extensions, `iptc` IIM data sets.

    `icc` is set for PNG and JPEG; elsewhere Pillow finds the profile. `dropped` has a note for each block that could
    not be extracted.
    """

    exif: bytes | None = None
    xmp: tuple[bytes, ...] = ()
    iptc: bytes | None = None
    icc: bytes | None = None
    dropped: list[str] = field(default_factory=list)


def bare_exif(block: bytes) -> bytes:
    """EXIF without the prefix of JPEG's segments, which some writers put into other formats too."""
    return block.removeprefix(EXIF_PREFIX).removeprefix(EXIF_PREFIX)
