"""Planes to samples: chroma enlarged bicubically, colours recombined, rounded once; in strips of rows.

merge.c does it where it is compiled, and numpy elsewhere, many times slower. They add in another order, so a value that
lies half-way between two codes, but for the last bit of float32, may be rounded differently.
"""

import ctypes
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.codec.formulas import Formulas
from app.codec.native import library
from app.codec.types import Picture, Plane, Samples

_STRIP = 32  # source rows that a thread merges at a time
_TAPS, _LANES = 5, 16
_SCALES = (1, 2, 4, 8)  # what merge.c can enlarge by


class _Merge(ctypes.Structure):
    """merge_t of merge.c."""

    _fields_ = [
        ("height", ctypes.c_size_t),
        ("width", ctypes.c_size_t),
        ("scale", ctypes.c_size_t),
        ("channels", ctypes.c_size_t),
        ("itemsize", ctypes.c_size_t),
        ("chroma", ctypes.c_void_p * 2),
        ("luma", ctypes.c_void_p),
        ("alpha", ctypes.c_void_p),
        ("phases", ctypes.c_void_p),
        ("offset", ctypes.c_ssize_t),
        ("mix", ctypes.c_float * 2 * 3),
        ("gain", ctypes.c_float),
        ("bias", ctypes.c_float * 3),
    ]


class Merger:
    """One picture's way back, rows at a time: enlarged luma and alpha and its own chroma to samples."""

    def __init__(self, picture: Picture, scale: int, depth: Literal[8, 16], formulas: Formulas) -> None:
        self._picture, self._scale = picture, scale
        self._dtype = np.dtype(np.uint8 if depth == 8 else np.uint16)
        self._full = full = 255 if depth == 8 else 65535
        # Samples are gain * luma + mix @ chroma + bias.
        if picture.chroma is None:
            self._phases, self._offset = np.ones((scale, 1), np.float32), 0
            self._gain = np.float32(full / formulas.gray_gain)
            self._mix = np.zeros((1, 2), np.float32)
            self._bias = np.array([-formulas.gray_offset * full / formulas.gray_gain], np.float32)
        else:
            phases, self._offset = formulas.upsample_kernel(scale)
            self._phases = phases.astype(np.float32)
            self._gain = np.float32(formulas.rgb_from_ycbcr[0, 0] * full)
            self._mix = (formulas.rgb_from_ycbcr[:, 1:] * full).astype(np.float32)
            self._bias = (formulas.rgb_from_ycbcr @ -formulas.ycbcr_offset * full).astype(np.float32)
        # As merge.c reads them.
        self._chroma = [np.ascontiguousarray(plane) for plane in picture.chroma or ()]
        self._lanes = np.zeros((_TAPS, _LANES), np.float32)
        if scale in _SCALES:
            self._lanes[: self._phases.shape[1]] = np.tile(self._phases.T, _LANES // scale)

    def rows(self, planes: Sequence[Plane], first: int, last: int, executor: Executor | None = None) -> Samples:
        """Samples ((last - first) * scale, W * scale, C) of source rows [first, last).

        `planes` are the network's answers to `picture.planes`, whole and in its order. Values are clipped and rounded
        once. Raises ValueError for planes that do not fit, and MemoryError.
        """
        picture, scale = self._picture, self._scale
        height, width = picture.height * scale, picture.width * scale
        for plane in planes:
            if plane.shape != (height, width):
                raise ValueError(f"a plane of {plane.shape} does not fit a result of {(height, width)}")
        if len(planes) != len(picture.planes):
            raise ValueError(f"{len(planes)} planes for a picture that has {len(picture.planes)}")
        planes = [np.ascontiguousarray(plane, np.float32) for plane in planes]
        out: Samples = np.empty(((last - first) * scale, width, picture.channels), self._dtype)
        native = library() if scale in _SCALES else None
        job = self._job(planes)

        def strip(top: int) -> None:
            bottom = min(top + _STRIP, last)
            target = out[(top - first) * scale : (bottom - first) * scale]
            if native is None:
                self._by_numpy(planes, top, bottom, target)
            elif native.merge_rows(ctypes.byref(job), top * scale, bottom * scale, target.ctypes.data):
                raise MemoryError("no memory to merge a row")

        mapper: Callable[..., Iterable[None]] = map if executor is None else executor.map
        for _ in mapper(strip, range(first, last, _STRIP)):
            pass
        return out

    def _job(self, planes: Sequence[Plane]) -> _Merge:
        """What merge.c is told; it owns none of what it points to."""
        picture = self._picture
        job = _Merge(picture.height, picture.width, self._scale, picture.channels, self._dtype.itemsize)
        job.luma, job.alpha = planes[0].ctypes.data, planes[1].ctypes.data if len(planes) > 1 else None
        for i, plane in enumerate(self._chroma):
            job.chroma[i] = plane.ctypes.data
        job.phases, job.offset, job.gain = self._lanes.ctypes.data, self._offset, self._gain
        for i, (mix, bias) in enumerate(zip(self._mix, self._bias, strict=True)):
            job.mix[i][:], job.bias[i] = mix, bias
        return job

    def _by_numpy(self, planes: Sequence[Plane], top: int, bottom: int, target: Samples) -> None:
        rows = slice(top * self._scale, bottom * self._scale)
        colors = self._gain * planes[0][rows] + self._bias[:, None, None]
        for chroma, mix in zip(self._chroma, self._mix.T, strict=False):
            colors += mix[:, None, None] * self._enlarged(chroma, top, bottom)
        for channel, values in enumerate(colors):
            target[..., channel] = self._codes(values)
        if self._picture.opaque:
            target[..., -1] = self._full
        elif self._picture.alpha is not None:
            target[..., -1] = self._codes(planes[1][rows] * np.float32(self._full))

    def _enlarged(self, plane: Plane, top: int, bottom: int) -> Plane:
        """Source rows [top, bottom) of chroma, down the columns first; the border is replicated."""

        def taps(first: int, last: int, axis: int) -> NDArray[np.intp]:
            reach = self._offset + np.arange(self._phases.shape[1])
            return np.add.outer(np.arange(first, last), reach).clip(0, plane.shape[axis] - 1)

        width = plane.shape[1]
        tall = np.einsum("pt,ytx->ypx", self._phases, plane[taps(top, bottom, 0)]).reshape(-1, width)
        wide: Plane = np.einsum("pt,yxt->yxp", self._phases, tall[:, taps(0, width, 1)]).reshape(len(tall), -1)
        return wide

    def _codes(self, values: NDArray[np.float32]) -> Samples:
        codes: Samples = np.rint(values).clip(0, self._full).astype(self._dtype)
        return codes


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
