"""How much memory a picture takes until its files are written."""

from collections.abc import Sequence

from app.codec.types import Decoded
from app.formats import OUTPUT_FORMATS
from app.options import UpscaleOptions

_FLOAT = 4
_WHOLE = 2.5
"""Bytes per sample byte where all frames are merged before the first is written: samples, and a file in pieces."""


def footprint(decoded: Decoded, made: Sequence[int], written: Sequence[int], options: UpscaleOptions) -> int:
    """Bytes of memory, about, at the peak: float planes, the levels that the network makes of them, and their files.

    `made` are the levels of the pass, `written` those of which files are made, side by side; `options` have the format.
    """
    frame, frames = decoded.frames[0], len(decoded.frames)
    row = OUTPUT_FORMATS[options.output_format]
    pixels = decoded.height * decoded.width
    planes = len(frame.planes) * _FLOAT * (1 + sum(level**2 for level in made))
    chroma = 0 if frame.chroma is None else 2 * _FLOAT
    channels = frame.channels if row.gray else max(3, frame.channels)
    samples = channels * (2 if decoded.depth_in(row) == 16 else 1)
    per_sample = row.bytes_per_sample if frames == 1 else max(_WHOLE, row.bytes_per_sample)
    enlarged = pixels * sum(level**2 for level in written)
    writing = enlarged * (frames * samples * per_sample + row.bytes_per_pixel)
    return pixels * frames * (planes + chroma) + round(writing)
