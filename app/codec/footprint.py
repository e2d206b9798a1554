"""How much memory a picture takes until its files are written."""

from collections.abc import Sequence

from app.codec.consistency import BLOCK
from app.codec.types import Decoded
from app.formats import OUTPUT_FORMATS
from app.options import UpscaleOptions

_FLOAT = 4
_ROWS = 256
"""Rows of the result that are merged at a time."""
BAND_BYTES = 32 << 20
"""What a band may take that pictures need not count: app.memory keeps as much free for each codec thread."""
_COPIES = 2
"""Of the metadata for each file: what is written, and the file. A few KB of a PNG unpack to a profile of 32 MiB."""
_WHOLE = 2.5
"""Bytes per sample byte where all frames are merged before the first is written: samples, and a file in pieces."""


def footprint(
    decoded: Decoded,
    made: Sequence[int],
    written: Sequence[int],
    options: UpscaleOptions,
    size: tuple[int, int] | None = None,
) -> int:
    """Bytes of memory, about, at the peak: float planes, the levels that the network makes of them, and their files.

    `made` are the levels of the pass, `written` those of which files are made, side by side; `options` have the format.
    With `size` (height, width), the level written is reduced to that.
    """
    frame, frames = decoded.frames[0], len(decoded.frames)
    row = OUTPUT_FORMATS[options.output_format]
    pixels = decoded.height * decoded.width
    planes = len(frame.planes) * _FLOAT * (1 + sum(level**2 for level in made))
    chroma = 0 if frame.chroma is None else 2 * _FLOAT
    channels = frame.channels if row.gray else max(3, frame.channels)
    itemsize = 2 if decoded.depth_in(row) == 16 else 1
    samples = channels * itemsize
    per_sample = row.bytes_per_sample if frames == 1 else max(_WHOLE, row.bytes_per_sample)
    enlarged = pixels * sum(level**2 for level in written)
    writing = enlarged * (frames * samples * per_sample + row.bytes_per_pixel)
    bands = sum(_band(decoded, level, channels, itemsize, size) for level in written)
    blocks = sum(len(block or b"") for block in (decoded.metadata.icc, decoded.metadata.exif, decoded.metadata.xmp))
    carried = blocks * (1 + _COPIES * len(written))
    return pixels * frames * (planes + chroma) + round(writing) + bands + carried


def _band(decoded: Decoded, level: int, channels: int, itemsize: int, size: tuple[int, int] | None) -> int:
    """Bytes for merging and compressing one band, beyond BAND_BYTES: much where a picture is very wide."""
    width, rows = decoded.width * level, min(decoded.height * level, _ROWS)
    floats = min(rows, max(2 * BLOCK * level, rows // 4))  # rows whose values are kept until they are rounded
    taken = floats * width * _FLOAT
    if size is None:
        taken += rows * width * itemsize * (3 if itemsize == 2 else 2)  # samples, big-endian ones, and the file's
    else:
        taken += rows * (width + 3 * size[1]) * _FLOAT  # values, and those that they are weighted in
    return max(0, taken * channels - BAND_BYTES)
