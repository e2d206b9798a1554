"""Planes to samples: chroma enlarged bicubically, colours recombined, rounded once; in strips of rows.

Samples that are to agree with their source get what they lack of it before they are rounded (see consistency.py).
merge.c and consistency.c do it where they are compiled, and numpy elsewhere, many times slower. They add in another
order, so a value that lies half-way between two codes, but for the last bit of float32, may be rounded differently.
"""

import ctypes
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from app.codec import consistency
from app.codec.consistency import BLOCK, LOOKAHEAD, LOOKBACK, REACH, blocks
from app.codec.formulas import Formulas
from app.codec.native import library
from app.codec.types import Picture, Plane, Samples

_STRIP = 32  # source rows that a thread merges at a time
_TAPS, _LANES = 5, 16
_SCALES = (1, 2, 4, 8)  # what merge.c can enlarge by


class _Merge(ctypes.Structure):
    """merge_t of merge.h."""

    _fields_ = [
        ("height", ctypes.c_size_t),
        ("width", ctypes.c_size_t),
        ("scale", ctypes.c_size_t),
        ("channels", ctypes.c_size_t),
        ("itemsize", ctypes.c_size_t),
        ("chroma", ctypes.c_void_p * 2),
        ("luma", ctypes.c_void_p),
        ("alpha", ctypes.c_void_p),
        ("sources", ctypes.c_void_p * 2),
        ("residuals", ctypes.c_void_p * 2),
        ("phases", ctypes.c_void_p),
        ("offset", ctypes.c_ssize_t),
        ("shrinking", ctypes.c_void_p),
        ("shrinking_offset", ctypes.c_ssize_t),
        ("mix", ctypes.c_float * 2 * 3),
        ("gain", ctypes.c_float),
        ("bias", ctypes.c_float * 3),
    ]


class Merger:
    """One picture's way back, rows at a time: enlarged luma and alpha and its own chroma to samples.

    `consistent`: the samples are made to agree with the picture in brightness. Rows are then to be asked for from the
    top down, each once, or all at once. Luma that was `cleaned` agrees with it in blocks only: back-projection, which
    works pixel by pixel, would bring back what has been removed.
    """

    def __init__(
        self,
        picture: Picture,
        scale: int,
        depth: Literal[8, 16] | None,
        formulas: Formulas,
        *,
        consistent: bool,
        cleaned: bool = False,
    ) -> None:
        """Without a depth, values are not rounded: float32 in units of 16-bit codes, 0 to 65535."""
        self._picture, self._scale = picture, scale
        self._dtype = np.dtype({8: np.uint8, 16: np.uint16, None: np.float32}[depth])
        self._full = full = 255 if depth == 8 else 65535
        phases, self._offset = formulas.upsample_kernel(scale)
        self._phases = phases.astype(np.float32)
        # Samples are gain * luma + mix @ chroma + bias; of gray, which has no chroma, the same in every channel.
        colors = 1 if picture.chroma is None else 3
        self._gain = np.float32(full / formulas.gray_gain)
        self._mix = (formulas.rgb_from_ycbcr[:colors, 1:] * full).astype(np.float32)
        self._bias = np.full(colors, -formulas.gray_offset * full / formulas.gray_gain, np.float32)
        # As merge.c reads them.
        self._chroma = [np.ascontiguousarray(plane) for plane in picture.chroma or ()]
        self._sources = [np.ascontiguousarray(plane) for plane in picture.planes]
        self._lanes = np.zeros((_TAPS, _LANES), np.float32)
        if scale in _SCALES:
            self._lanes[: self._phases.shape[1]] = np.tile(self._phases.T, _LANES // scale)
        self._limits = [(formulas.gray_offset, formulas.gray_offset + formulas.gray_gain), (0.0, 1.0)]
        self._consistent = consistent and scale > 1
        if self._consistent:
            weights, self._shrinking_offset = formulas.downsample_kernel(scale)
            self._shrinking = np.zeros(-(-len(weights) // _LANES) * _LANES, np.float32)
            self._shrinking[: len(weights)] = weights
            self._taps = len(weights)
            self._residuals = [np.zeros(plane.shape, np.float32) for plane in self._sources]
            self._projected = range(int(cleaned), len(self._sources))
            self._known_rows = 0

    @property
    def reach(self) -> tuple[int, int]:
        """How many source rows above the first and below the last one wanted are read, as far as the picture goes."""
        return (LOOKBACK, LOOKAHEAD) if self._consistent else (0, 0)

    def rows(self, planes: Sequence[Plane], first: int, last: int, executor: Executor | None = None) -> NDArray[Any]:
        """Samples ((last - first) * scale, W * scale, C) of source rows [first, last).

        `planes` are the network's answers to `picture.planes`, whole and in its order; see `reach` for what is read of
        them. Values are clipped and rounded once. Raises ValueError for planes that do not fit, and MemoryError.
        """
        picture, scale = self._picture, self._scale
        height, width = picture.height * scale, picture.width * scale
        for plane in planes:
            if plane.shape != (height, width):
                raise ValueError(f"a plane of {plane.shape} does not fit a result of {(height, width)}")
        if len(planes) != len(picture.planes):
            raise ValueError(f"{len(planes)} planes for a picture that has {len(picture.planes)}")
        planes = [np.ascontiguousarray(plane, np.float32) for plane in planes]
        out: NDArray[Any] = np.empty(((last - first) * scale, width, picture.channels), self._dtype)
        native = library() if scale in _SCALES else None
        job = self._job(planes)

        def strip(top: int, bottom: int) -> None:
            target = out[(top - first) * scale : (bottom - first) * scale]
            if native is None:
                self._by_numpy(planes, top, bottom, target)
            else:
                _check(native.merge_rows(ctypes.byref(job), top, bottom, target.ctypes.data))

        if self._consistent:
            self._find_residuals(native, job, planes, last, executor)
        _in_strips(strip, first, last, executor, whole=native is not None)
        return out

    def _find_residuals(
        self, native: ctypes.CDLL | None, job: _Merge, planes: Sequence[Plane], last: int, executor: Executor | None
    ) -> None:
        """Computes the residuals that source rows down to `last` need, as far as they are not there yet."""

        def strip(top: int, bottom: int) -> None:
            for i in self._projected:
                source, plane, found = self._sources[i], planes[i], self._residuals[i]
                low, high = self._limits[i]
                if native is None:
                    kernel = self._shrinking[: self._taps], self._shrinking_offset
                    found[top:bottom] = consistency.residual(source, plane, (low, high), kernel, top, bottom)
                else:
                    target = found.ctypes.data
                    _check(native.consistency_residual(ctypes.byref(job), i, low, high, top, bottom, target))

        bottom = min((blocks(last) + 1) * BLOCK + REACH, self._picture.height)
        _in_strips(strip, self._known_rows, bottom, executor, whole=native is not None)
        self._known_rows = bottom

    def _job(self, planes: Sequence[Plane]) -> _Merge:
        """The parameters of merge.c; it owns none of what it points to."""
        picture = self._picture
        job = _Merge(picture.height, picture.width, self._scale, picture.channels, self._dtype.itemsize)
        job.luma, job.alpha = planes[0].ctypes.data, planes[1].ctypes.data if len(planes) > 1 else None
        for i, plane in enumerate(self._chroma):
            job.chroma[i] = plane.ctypes.data
        for i, plane in enumerate(self._sources):
            job.sources[i] = plane.ctypes.data
        job.phases, job.offset, job.gain = self._lanes.ctypes.data, self._offset, self._gain
        if self._consistent:
            for i, plane in enumerate(self._residuals):
                job.residuals[i] = plane.ctypes.data
            job.shrinking, job.shrinking_offset = self._shrinking.ctypes.data, self._shrinking_offset
        for i, (mix, bias) in enumerate(zip(self._mix, self._bias, strict=True)):
            job.mix[i][:], job.bias[i] = mix, bias
        return job

    def _by_numpy(self, planes: Sequence[Plane], top: int, bottom: int, target: NDArray[Any]) -> None:
        """Writes the samples of source rows [top, bottom) into `target`, as merge_rows of merge.c does."""
        values = self._consistently(planes, top, bottom) if self._consistent else self._values(planes, top, bottom)
        values = values if self._dtype == np.float32 else np.rint(values)
        for channel, codes in enumerate(values.clip(0, self._full).astype(self._dtype)):
            target[..., channel] = codes
        if self._picture.opaque:
            target[..., -1] = self._full

    def _consistently(self, planes: Sequence[Plane], top: int, bottom: int) -> NDArray[np.float32]:
        """As `_values`, with the offsets of blocks, which depend on the block rows above and below."""
        first = max(top // BLOCK - 1, 0) * BLOCK
        last = min((blocks(bottom) + 1) * BLOCK, self._picture.height)
        values = self._values(planes, first, last)
        targets = consistency.block_means(self._source(first, last), BLOCK)
        values = consistency.shifted(values, targets, BLOCK * self._scale, self._full)
        return values[:, (top - first) * self._scale : (bottom - first) * self._scale]

    def _values(self, planes: Sequence[Plane], top: int, bottom: int) -> NDArray[np.float32]:
        """The codes of source rows [top, bottom), neither clipped nor rounded, (C, rows, columns); no opaque alpha."""
        rows = slice(top * self._scale, bottom * self._scale)
        enlarged = [plane[rows] for plane in planes]
        if self._consistent:
            residuals = [self._enlarged(plane, top, bottom) for plane in self._residuals]
            enlarged = [plane + residual for plane, residual in zip(enlarged, residuals, strict=True)]
        return self._joined(enlarged, [self._enlarged(plane, top, bottom) for plane in self._chroma])

    def _source(self, top: int, bottom: int) -> NDArray[np.float32]:
        """The codes of the source's own pixels in rows [top, bottom), not rounded, (C, rows, columns)."""
        return self._joined([p[top:bottom] for p in self._sources], [p[top:bottom] for p in self._chroma])

    def _joined(self, planes: Sequence[Plane], chromas: Sequence[Plane]) -> NDArray[np.float32]:
        """Codes (C, rows, columns), neither clipped nor rounded, of luma, perhaps alpha, and chroma of one size."""
        channels = self._gain * planes[0] + self._bias[:, None, None]
        for chroma, mix in zip(chromas, self._mix.T, strict=False):
            channels += mix[:, None, None] * chroma
        alphas = [plane[None] * np.float32(self._full) for plane in planes[1:]]
        return np.concatenate([channels, *alphas])

    def _enlarged(self, plane: Plane, top: int, bottom: int) -> Plane:
        """Source rows [top, bottom) of a plane (H, W) enlarged bicubically, columns first; the border is replicated."""

        def taps(first: int, last: int, axis: int) -> NDArray[np.intp]:
            reach = self._offset + np.arange(self._phases.shape[1])
            return np.add.outer(np.arange(first, last), reach).clip(0, plane.shape[axis] - 1)

        width = plane.shape[1]
        tall = np.einsum("pt,ytx->ypx", self._phases, plane[taps(top, bottom, 0)]).reshape(-1, width)
        wide: Plane = np.einsum("pt,yxt->yxp", self._phases, tall[:, taps(0, width, 1)]).reshape(len(tall), -1)
        return wide


def _in_strips(
    work: Callable[[int, int], None], first: int, last: int, executor: Executor | None, *, whole: bool
) -> None:
    """Work on [first, last) in pieces, side by side if there are threads for it; without, in one if it may be `whole`.

    Each further piece hands over the interpreter lock once more.
    """
    step = max(1, last - first) if whole and executor is None else _STRIP
    mapper: Callable[..., Iterable[None]] = map if executor is None else executor.map
    for _ in mapper(lambda top: work(top, min(top + step, last)), range(first, last, step)):
        pass


def _check(status: int) -> None:
    """Raises MemoryError if a function of merge.c or consistency.c says that it had none."""
    if status:
        raise MemoryError("no memory to merge a row")


def merge(
    picture: Picture,
    planes: Sequence[Plane],
    scale: int,
    depth: Literal[8, 16],
    formulas: Formulas,
    executor: Executor | None = None,
    *,
    consistent: bool = False,
    cleaned: bool = False,
) -> Samples:
    """Every row of a picture at once; see Merger."""
    merger = Merger(picture, scale, depth, formulas, consistent=consistent, cleaned=cleaned)
    return merger.rows(planes, 0, picture.height, executor)
