"""The blocks of metadata in a file, as they lie there."""

from dataclasses import dataclass, field

EXIF_PREFIX = b"Exif\0\0"
XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"
UNREADABLE, TOO_LARGE = "unreadable", "too large"


def note(block: str, reason: str) -> str:
    """What the client is told of a block that was left out."""
    return f"{block} dropped ({reason})"


@dataclass(slots=True)
class Blocks:
    """What was found: `exif` is a TIFF structure, or a TIFF file, `xmp` a packet and its extensions, `iptc` data sets.

    `icc` is a profile where the decoder is not left to find it. `dropped` are notes on what could not be taken out.
    """

    exif: bytes | None = None
    xmp: tuple[bytes, ...] = ()
    iptc: bytes | None = None
    icc: bytes | None = None
    dropped: list[str] = field(default_factory=list)


def bare_exif(block: bytes) -> bytes:
    """EXIF without the prefix that belongs to JPEG, and that some writers put elsewhere too."""
    return block.removeprefix(EXIF_PREFIX).removeprefix(EXIF_PREFIX)
