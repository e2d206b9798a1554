"""Samples to planes: luma for the network, chroma for bicubic, alpha for the network."""

import numpy as np
from numpy.typing import NDArray

from app.codec.alpha_bleeding import bled
from app.codec.formulas import Formulas
from app.codec.types import Picture, Plane, Samples

_ROWS = 64  # worked on at a time, so that temporaries stay in the cache


def split(samples: Samples, formulas: Formulas) -> Picture:
    """Planes of samples (H, W, 1 to 4); the colour of invisible pixels is bled in from visible ones."""
    has_alpha = samples.shape[2] in (2, 4)
    full = np.iinfo(samples.dtype).max
    planes = _gray(samples, formulas, full) if samples.shape[2] <= 2 else _color(samples, formulas, full)
    alpha = None
    if has_alpha and not (samples[..., -1] == full).all():
        alpha = np.divide(samples[..., -1], full, dtype=np.float32)
        planes = bled(planes, samples[..., -1] > 0)
    chroma = (planes[1], planes[2]) if len(planes) == 3 else None
    return Picture(luma=planes[0], chroma=chroma, alpha=alpha, opaque=has_alpha and alpha is None)


def _gray(samples: Samples, formulas: Formulas, full: int) -> list[Plane]:
    return [samples[..., 0] * np.float32(formulas.gray_gain / full) + np.float32(formulas.gray_offset)]


def _color(samples: Samples, formulas: Formulas, full: int) -> list[Plane]:
    """From the differences of red and blue to green: gray has the luma of `_gray`, and chroma of exactly 0."""
    height, width = samples.shape[:2]
    matrix = (formulas.ycbcr_from_rgb / full).astype(np.float32)
    planes: NDArray[np.float32] = np.empty((3, height, width), np.float32)
    for top in range(0, height, _ROWS):
        rows = slice(top, top + _ROWS)
        red, green, blue = np.moveaxis(samples[rows, :, :3], 2, 0).astype(np.float32, "C")
        red -= green
        blue -= green
        term = np.empty_like(red)
        for out, row in zip(planes[:, rows], matrix, strict=True):
            np.multiply(red, row[0], out=out)
            out += np.multiply(blue, row[2], out=term)
        planes[0, rows] += _gray(green[..., None], formulas, full)[0]
    return list(planes)
