"""Finds that pixels were a JPEG once: coefficients at multiples of its steps, on the one grid that it was coded on.

After Fan and de Queiroz, "Identification of bitmap compression history", IEEE Transactions on Image Processing 12(2),
2003. Five low frequencies are transformed at all 64 positions of the grid. Where a picture was quantised, and not
enlarged or shrunk since, the cosine of a coefficient over its step is near 1; on any other grid, and for pictures that
were never compressed, it averages to nearly 0. tests/codec/history/test_grid.py says how often it errs. grid.c does the
same in C.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from app.codec.history.jpeg import table
from app.codec.native import library

FREQUENCIES = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0))
QUALITIES = (*range(10, 80, 5), *range(76, 95, 1))
"""Those that can be distinguished. Above, the steps of these frequencies are as small as what rounding pixels adds."""
TILE, TILES = 128, 16
"""Pixels of a side of the tiles that are looked at, a multiple of 8, and how many at most: of the busier half."""
LEVELS = np.float32(255 * 255 / 219)
"""Of the full range, in full scale of the studio range."""
_LEAST_SIDE = 24
_THIN = 4  # of these rows, one tells how busy a tile is
_BINS, _PER_LEVEL = 512, 4  # coefficients of up to 128 levels, in quarters of a level
_NEAREST, _FARTHEST = 0.6, 8.5  # in steps: nearer to zero, any coefficient is at a multiple; farther, any is near one
_LEAST_MEAN, _LEAST_SCORE, _MOST_ELSEWHERE = 0.2, 7.0, 0.6


def quality_of(tiles: Iterable[NDArray[np.float32]]) -> int | None:
    """The quality that a picture was coded with, from its parts as of `tiles_of`; None if they show none."""
    parts = list(tiles)
    sums, counts = _sums(histograms(parts))
    scores = _scores(sums, counts)
    position, index = np.unravel_index(scores.argmax(), scores.shape)
    means = sums[:, index] / counts[:, index].clip(1)
    elsewhere = np.delete(means, position).max()
    score, mean = scores[position, index], means[position]
    if score <= _LEAST_SCORE or mean <= _LEAST_MEAN or elsewhere >= _MOST_ELSEWHERE * mean:
        return None
    distinct = _scores(*_sums(_distinct(parts, *divmod(int(position), 8))))
    return QUALITIES[index] if distinct[0, index] > _LEAST_SCORE else None


def tiles_of(height: int, width: int, rows: Callable[[int, int], NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """Parts that begin at multiples of 8, in levels of the full range that JPEG codes, up to a constant.

    Of luma in units of full scale, studio range, of which `rows` gives rows [first, last), from the top down and then a
    few again. There are none for pictures that are too small.
    """
    if min(height, width) < _LEAST_SIDE:
        return
    corners = [(top, left) for top in range(0, height - 7, TILE) for left in range(0, width - 7, TILE)]
    if len(corners) > TILES:
        busy = []
        for top in range(0, height - 7, TILE):
            thin = rows(top, min(top + TILE, height))[::_THIN]
            activity = np.abs(np.diff(thin, axis=1, append=0))
            busy += [float(activity[:, left : left + TILE].sum()) for left in range(0, width - 7, TILE)]
        order = np.argsort(busy, kind="stable")[len(corners) // 2 :]
        corners = [corners[i] for i in order[np.linspace(0, len(order) - 1, TILES).round().astype(int)]]
    for top, left in corners:
        luma = rows(top, min(top + TILE + 7, height))
        yield luma[:, left : left + TILE + 7] * LEVELS


def histograms(pictures: Iterable[NDArray[np.float32]]) -> NDArray[np.uint32]:
    """Of the magnitudes of FREQUENCIES, for each position of the grid: (8 x 8 positions, frequency, bin).

    Pictures (H, W) of at least 8 x 8 begin at the grid's origin.
    """
    found, native = np.zeros((64, len(FREQUENCIES), _BINS), np.uint32), library()
    basis, frequencies = _basis(), np.array(FREQUENCIES, np.int32)
    arguments = basis.ctypes.data, frequencies.ctypes.data, len(FREQUENCIES), _PER_LEVEL, _BINS, found.ctypes.data
    for picture in pictures:
        if native is None:
            _count(picture, found)
            continue
        values = np.ascontiguousarray(picture)
        if native.grid_histograms(values.ctypes.data, *values.shape, *arguments):
            raise MemoryError("no memory to look for traces of JPEG")
    return found


def _count(picture: NDArray[np.float32], found: NDArray[np.uint32]) -> None:
    height, width = (length - 7 for length in picture.shape)
    place = ((np.arange(height) % 8)[:, None] * 8 + np.arange(width) % 8) * _BINS
    rows = {k: _slid(picture, k, axis=1) for k in {across for _, across in FREQUENCIES}}
    for number, (down, across) in enumerate(FREQUENCIES):
        magnitude = np.abs(_slid(rows[across], down, axis=0)) * np.float32(_PER_LEVEL)
        bins = np.minimum(magnitude, _BINS - 1).astype(np.intp) + place
        found[:, number] += np.bincount(bins.ravel(), minlength=64 * _BINS).reshape(64, _BINS).astype(np.uint32)


@lru_cache(maxsize=1)
def _basis() -> NDArray[np.float32]:
    """The lowest frequencies of the orthonormal DCT of eight values, (frequency, 8)."""
    frequencies = np.arange(1 + max(max(each) for each in FREQUENCIES))[:, None]
    cosines = np.cos((2 * np.arange(8) + 1) * frequencies * np.pi / 16)
    basis: NDArray[np.float32] = (cosines * np.sqrt(np.where(frequencies == 0, 1, 2) / 8)).astype(np.float32)
    return basis


def _slid(picture: NDArray[np.float32], frequency: int, axis: int) -> NDArray[np.float32]:
    """One coefficient of the orthonormal DCT of every eight pixels in a row along an axis."""
    count = picture.shape[axis] - 7
    pieces = (picture[:, i : i + count] if axis else picture[i : i + count] for i in range(8))
    total = np.zeros_like(picture[:, :count] if axis else picture[:count])
    for piece, factor in zip(pieces, _basis()[frequency], strict=True):
        total += piece * factor
    return total


def _distinct(tiles: Sequence[NDArray[np.float32]], down: int, across: int) -> NDArray[np.uint32]:
    """As `histograms`, for one position of the grid; but of blocks that are alike, mirrored or turned, one counts.

    Drawings repeat and mirror shapes. What one of these blocks shows by chance, they all do.
    """
    basis, found = _basis(), []
    for tile in tiles:
        height, width = (tile.shape[0] - down) // 8, (tile.shape[1] - across) // 8
        blocks = tile[down:, across:][: height * 8, : width * 8].reshape(height, 8, width, 8)
        coefficients = np.einsum("kr,yrxc,lc->yxkl", basis, blocks, basis, optimize=True)
        found.append(coefficients.reshape(-1, len(basis), len(basis)))
    magnitudes = np.abs(np.concatenate(found))[:, *zip(*FREQUENCIES, strict=True)].clip(max=_BINS / _PER_LEVEL)
    levels = magnitudes.round().astype(np.int64)
    turned = levels[:, [FREQUENCIES.index(each[::-1]) for each in FREQUENCIES]]
    weights = (int(_BINS / _PER_LEVEL) + 1) ** np.arange(len(FREQUENCIES))
    _, first = np.unique(np.minimum(levels @ weights, turned @ weights), return_index=True)
    bins = np.minimum(magnitudes[first] * _PER_LEVEL, _BINS - 1).astype(np.intp)
    return np.stack([np.bincount(each, minlength=_BINS) for each in bins.T]).astype(np.uint32)[None]


def _scores(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far sums of cosines are from those of angles that are all equally likely, in standard deviations."""
    return sums / np.sqrt(counts.clip(1) / 2)


def _sums(found: NDArray[np.uint32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both (positions, qualities): the cosines of what has been found that counts, added up, and how much that is."""
    cosines, ranges = _combs()
    sums = np.empty((len(found), len(QUALITIES)))
    counts = np.empty_like(sums)
    if (native := library()) is None:
        before = np.pad(found.cumsum(axis=2), ((0, 0), (0, 0), (1, 0)))
        each = np.arange(len(FREQUENCIES))[:, None]
        np.einsum("pfb,fqb->pq", found, cosines, out=sums)
        np.sum(before[:, each, ranges[..., 1]] - before[:, each, ranges[..., 0]], axis=1, out=counts)
        return sums, counts
    arguments = cosines.ctypes.data, ranges.ctypes.data, len(QUALITIES), sums.ctypes.data, counts.ctypes.data
    if native.grid_sums(found.ctypes.data, *found.shape, *arguments):
        raise MemoryError("no memory to look for traces of JPEG")
    return sums, counts


@lru_cache(maxsize=1)
def _combs() -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Cosines of coefficients over steps (frequency, quality, bin), and the bins [first, last) that count: (..., 2)."""
    centres = (np.arange(_BINS) + 0.5) / _PER_LEVEL
    steps = np.array([[table(quality)[frequency] for quality in QUALITIES] for frequency in FREQUENCIES])[..., None]
    counted = (centres > _NEAREST * steps) & (centres < _FARTHEST * steps)
    counted[..., -1] = False  # holds everything beyond, too
    first = counted.argmax(axis=2)
    ranges = np.stack([first, first + counted.sum(axis=2)], axis=2).astype(np.int32)
    return np.where(counted, np.cos(2 * np.pi * centres / steps), 0.0), ranges
