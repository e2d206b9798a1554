"""16-bit PNG and TIFF, at all their 16 bits.

Pillow reads 16-bit RGB as 8 bits. imagecodecs decodes both through libpng and libtiff in a 45 MB package that also
holds LittleCMS for 16-bit samples; OpenCV does the same in 150 MB, warns on stderr and expands gray with alpha to RGBA.
"""

from typing import Any

import imagecodecs
import numpy as np
from PIL import TiffImagePlugin

from app.codec.types import Limits, Samples
from app.errors import TooManyPixels, UndecodablePicture

_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _PER_PIXEL, _FORMAT = 256, 257, 258, 262, 277, 339
_PLANAR, _TILE_WIDTH, _TILE_HEIGHT, _EXTRA = 284, 322, 323, 338
_ICC = 34675
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2


def read_png(data: bytes, height: int, width: int) -> Samples:
    """A 16-bit PNG (H, W, C), uint16, tRNS made alpha. Whatever libpng raises is left to the caller."""
    return _checked(imagecodecs.png_decode(data), height, width)


def is_deep_tiff(tags: TiffImagePlugin.ImageFileDirectory_v2) -> bool:
    """Whether the directory describes 16-bit unsigned gray or RGB samples."""
    bits = _values(tags, _BITS, (1,))
    kinds = _values(tags, _FORMAT, (1,))
    gray_or_rgb = _values(tags, _PHOTOMETRIC, (-1,))[0] in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB)
    return gray_or_rgb and set(bits) == {16} and set(kinds) == {1}


class TiffFile(TiffImagePlugin.TiffImageFile):
    """Pillow's TIFF, opening layouts of 16-bit samples too that Pillow has no mode for; those it must not load."""

    def _setup(self) -> None:
        try:
            super()._setup()
        except SyntaxError:
            if not is_deep_tiff(self.tag_v2):
                raise
            self._mode, self.tile = "L", []
            if _ICC in self.tag_v2:
                self.info["icc_profile"] = self.tag_v2[_ICC]


def check_tiles(tags: TiffImagePlugin.ImageFileDirectory_v2, limits: Limits) -> None:
    """TooManyPixels if one tile is larger than a whole picture may be: libtiff would make room for it."""
    tile = _values(tags, _TILE_WIDTH, (0,))[0] * _values(tags, _TILE_HEIGHT, (0,))[0]
    if tile > max(limits.max_input_pixels, 1 << 20):
        raise TooManyPixels(f"The TIFF has tiles of {tile:,} pixels; at most {limits.max_input_pixels:,} are accepted.")


def read_tiff(data: bytes, page: int, tags: TiffImagePlugin.ImageFileDirectory_v2) -> Samples:
    """A page of a 16-bit TIFF (H, W, C), uint16; white-is-zero turned round, premultiplied alpha divided out.

    Not turned upright: Pillow's size of the page may be, so its directory is asked.
    """
    height, width = _values(tags, _HEIGHT, (0,))[0], _values(tags, _WIDTH, (0,))[0]
    decoded = np.asarray(imagecodecs.tiff_decode(data, index=page))
    if _values(tags, _PLANAR, (1,))[0] == 2 and decoded.ndim == 3:
        decoded = np.moveaxis(decoded, 0, 2)
    samples = _checked(decoded, height, width)
    photometric = _values(tags, _PHOTOMETRIC, (_BLACK_IS_ZERO,))[0]
    colors = 3 if photometric == _RGB else 1
    if samples.shape[2] < colors:
        raise UndecodablePicture(f"The TIFF promises RGB and holds {samples.shape[2]} samples a pixel.")
    if photometric == _WHITE_IS_ZERO:
        samples[..., 0] = 65535 - samples[..., 0]
    extra = _values(tags, _EXTRA, ())
    kind = extra[0] if extra else 0
    if samples.shape[2] == colors or kind not in (1, 2):
        return np.ascontiguousarray(samples[..., :colors])
    samples = np.ascontiguousarray(samples[..., : colors + 1])
    if kind == 1:
        alpha = samples[..., -1:].astype(np.float64)
        straight = samples[..., :-1] * 65535.0 / np.maximum(alpha, 1)
        samples[..., :-1] = np.minimum(np.rint(straight), 65535).astype(np.uint16)
    return samples


def _checked(decoded: Any, height: int, width: int) -> Samples:
    samples = np.asarray(decoded)
    if samples.ndim == 2:
        samples = samples[..., None]
    if samples.dtype != np.uint16 or samples.ndim != 3 or samples.shape[:2] != (height, width):
        raise UndecodablePicture(f"The header promises {width} x {height} pixels of 16 bits; the data is not that.")
    return np.ascontiguousarray(samples)


def _values(tags: TiffImagePlugin.ImageFileDirectory_v2, tag: int, default: tuple[int, ...]) -> tuple[int, ...]:
    value = tags.get(tag, default)
    found = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(item, int) for item in found):
        raise UndecodablePicture(f"TIFF tag {tag} does not hold whole numbers.")
    return found
