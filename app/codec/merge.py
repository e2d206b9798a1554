"""Planes to samples: chroma enlarged bicubically, colours recombined, rounded once; in strips of rows."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.codec.formulas import Formulas
from app.codec.types import Picture, Plane, Samples

_STRIP = 8  # source rows: 32 result rows of 1024 pixels are 128 KB a channel, which the second-level cache holds
_BLOCK = 8  # source columns that one row of the horizontal pass's product enlarges
_ONE_THREAD = 65536 * 4  # multiplications up to which OpenBLAS keeps a product to the calling thread (interface/gemm.c)


class _Upsampler:
    """Two chroma planes enlarged by an integer, a strip at a time, weighted into the three colours."""

    def __init__(self, chroma: tuple[Plane, Plane], scale: int, formulas: Formulas, full: int) -> None:
        self.phases, self.offset = formulas.upsample_kernel(scale)
        self.scale, self.taps = self.phases.shape
        self.across = np.ascontiguousarray(_band(self.phases, _BLOCK).T).astype(np.float32)
        self.chroma = chroma
        # Cb and Cr to R, G, B in units of output codes, and what the offsets of all three planes make there.
        self.weights = formulas.rgb_from_ycbcr[:, 1:] * full
        self.bias = -(formulas.rgb_from_ycbcr @ formulas.ycbcr_offset) * full
        self.down = self._down(_STRIP)
        # Which source row and column each tap reads; the border is replicated.
        height, width = chroma[0].shape
        self.blocks = -(-width // _BLOCK)
        reach = self.offset + self.taps - 1
        self.row_taps = np.clip(np.arange(self.offset, height + reach), 0, height - 1)
        self.column_taps = np.clip(np.arange(self.offset, self.blocks * _BLOCK + reach), 0, width - 1)

    def _down(self, count: int) -> NDArray[np.float32]:
        """The matrix from rows of Cb, of Cr and one of ones to `count * scale` rows of R, of G and of B."""
        band = _band(self.phases, count)
        rows = [
            np.hstack([band * cb, band * cr, np.full((len(band), 1), bias)])
            for (cb, cr), bias in zip(self.weights, self.bias, strict=True)
        ]
        return np.vstack(rows).astype(np.float32)

    def rows(self, top: int, count: int) -> NDArray[np.float32]:
        """What chroma and the offsets add in result rows `top * scale` and on: (R G B, count * scale, W * scale)."""
        width, window = self.chroma[0].shape[1], _BLOCK + self.taps - 1
        rows = self.row_taps[top : top + count + self.taps - 1]
        tall = np.concatenate([plane[rows] for plane in self.chroma]).take(self.column_taps, axis=1)
        windows = np.ndarray(
            (len(tall), self.blocks, window),
            np.float32,
            tall,
            0,
            (tall.strides[0], tall.itemsize * _BLOCK, tall.itemsize),
        )
        wide = np.ones((len(tall) + 1, self.blocks * _BLOCK * self.scale), np.float32)
        wide[:-1] = _product(windows.reshape(-1, window), self.across).reshape(len(tall), -1)
        down = self.down if count == _STRIP else self._down(count)
        mixed = _product(down, wide[:, : width * self.scale])
        return mixed.reshape(3, count * self.scale, width * self.scale)


def _band(phases: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """The matrix that makes `count * scale` samples of `count + taps - 1`."""
    scale, taps = phases.shape
    band = np.zeros((count * scale, count + taps - 1))
    for index in range(count):
        band[index * scale : (index + 1) * scale, index : index + taps] = phases
    return band


def _product(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """left @ right in pieces so small that BLAS calls none of its threads, which would fight the network's."""
    rows, inner = left.shape
    columns = right.shape[1]
    out = np.empty((rows, columns), np.float32)
    if columns >= rows:
        step = max(1, _ONE_THREAD // (rows * inner))
        for at in range(0, columns, step):
            np.matmul(left, right[:, at : at + step], out=out[:, at : at + step])
    else:
        step = max(1, _ONE_THREAD // (columns * inner))
        for at in range(0, rows, step):
            np.matmul(left[at : at + step], right, out=out[at : at + step])
    return out


class Merger:
    """One picture's way back, rows at a time: enlarged luma and alpha and its own chroma to samples."""

    def __init__(self, picture: Picture, scale: int, depth: Literal[8, 16], formulas: Formulas) -> None:
        self._picture, self._scale, self._formulas = picture, scale, formulas
        self._dtype = np.uint8 if depth == 8 else np.uint16
        self._full = full = int(np.iinfo(self._dtype).max)
        self._chroma = None if picture.chroma is None else _Upsampler(picture.chroma, scale, formulas, full)

    def rows(self, planes: Sequence[Plane], first: int, last: int, executor: Executor | None = None) -> Samples:
        """Samples ((last - first) * scale, W * scale, C) of source rows [first, last).

        `planes` are the network's answers to `picture.planes`, whole and in its order. Values are clipped and rounded
        once.
        """
        picture, scale = self._picture, self._scale
        height, width = picture.height * scale, picture.width * scale
        for plane in planes:
            if plane.shape != (height, width):
                raise ValueError(f"a plane of {plane.shape} does not fit a result of {(height, width)}")
        if len(planes) != len(picture.planes):
            raise ValueError(f"{len(planes)} planes for a picture that has {len(picture.planes)}")
        out: Samples = np.empty(((last - first) * scale, width, picture.channels), self._dtype)

        def strip(top: int) -> None:
            bottom = min(top + _STRIP, last)
            self._strip(planes, top, bottom, out[(top - first) * scale : (bottom - first) * scale])

        mapper: Callable[..., Iterable[None]] = map if executor is None else executor.map
        for _ in mapper(strip, range(first, last, _STRIP)):
            pass
        return out

    def _strip(self, planes: Sequence[Plane], top: int, bottom: int, target: Samples) -> None:
        picture, formulas, full = self._picture, self._formulas, self._full
        rows = slice(top * self._scale, bottom * self._scale)
        if self._chroma is None:
            gray = (planes[0][rows] - np.float32(formulas.gray_offset)) * np.float32(full / formulas.gray_gain)
            _store(gray[None], target, full)
        else:
            colors = self._chroma.rows(top, bottom - top)
            colors += planes[0][rows] * np.float32(formulas.rgb_from_ycbcr[0, 0] * full)
            _store(colors, target, full)
        if picture.opaque:
            target[..., -1] = full
        elif picture.alpha is not None:
            _store(planes[1][None, rows] * np.float32(full), target[..., -1:], full)


def merge(
    picture: Picture,
    planes: Sequence[Plane],
    scale: int,
    depth: Literal[8, 16],
    formulas: Formulas,
    executor: Executor | None = None,
) -> Samples:
    """Every row of a picture at once; see Merger.rows."""
    return Merger(picture, scale, depth, formulas).rows(planes, 0, picture.height, executor)


def _store(channels: NDArray[np.float32], target: Samples, full: int) -> None:
    """Channels (C, H, W) in output codes, rounded and clipped into the first C of `target` (H, W, ...); used up."""
    np.rint(channels, out=channels)
    np.maximum(channels, 0, out=channels)
    np.minimum(channels, full, out=channels)
    for channel, values in enumerate(channels.astype(target.dtype)):
        target[..., channel] = values
