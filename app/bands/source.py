"""The source of a large picture: any band of its rows as a small file of its own, which the codec reads as any other.

So samples, colours and transparency are what the service makes of the whole file, of whatever kind they are.
"""

import os
from pathlib import Path
from typing import Protocol

from app.errors import UnsupportedFormat
from app.formats import format_of

_HEAD = 64


class Source(Protocol):
    """An opened file."""

    height: int
    width: int
    several: bool
    """Whether there are more pages than the first, which is the picture."""

    def rows(self, first: int, last: int) -> bytes:
        """A file with rows [first, last) alone, of the same kind as the whole. Raises UndecodablePicture."""

    def close(self) -> None:
        """Closes the file."""


def version_of(status: os.stat_result) -> dict[str, int]:
    """What differs between two versions of a file."""
    return {"bytes": status.st_size, "modified": status.st_mtime_ns}


def open_source(path: Path, folder: Path) -> Source:
    """The TIFF or PNG at `path`. A PNG, which can only be read from its start, is unpacked into `folder` once.

    Raises OSError, UnsupportedFormat and UndecodablePicture.
    """
    from app.bands.png_source import PngSource
    from app.bands.tiff_source import TiffSource

    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head[:4] in (b"II+\0", b"MM\0+"):
        return TiffSource(path)
    found = format_of(head)
    name = found.name if found else ""
    if name == "tiff":
        return TiffSource(path)
    if name == "png":
        return PngSource(path, folder)
    raise UnsupportedFormat("Only TIFF, BigTIFF and PNG can be upscaled in bands: convert the picture to one of them.")
