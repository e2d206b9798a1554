"""Where a picture is cut, and how a tile's window is read from it: any cut gives the same output pixels.

The picture is padded at its own border by reflection (`numpy.pad(mode="reflect")`), or by size replication along an
axis no longer than the network's margin. A tile's window may go further than that margin, and so does the padding: what
it holds out there moves no output pixel by more than a rounding, and is the same for any cut. The padded picture is
never stored: an axis of it is a list of source indices.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.engine.ports import Plane


class Shape(NamedTuple):
    """What tiles must share to be batched: the core's sides in source pixels, the target scale, the network, its
    strength of clean-up, and whether that is for a picture with losses of compression (as it is at 0, where this makes
    no difference). `work` is how much one of them takes, which the others decide.
    """

    height: int
    width: int
    scale: int
    network: str = ""
    clean: float = 0.0
    compressed: bool = True
    work: int = 1

    @property
    def pixels(self) -> int:
        """Source pixels of one core."""
        return self.height * self.width


class TileSizes(NamedTuple):
    """Heights and widths that cores can have, each ascending."""

    heights: tuple[int, ...]
    widths: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """Source pixels [start, start + length) of an axis, computed by a tile of core size `size` >= length."""

    start: int
    length: int
    size: int


@lru_cache(maxsize=4096)
def _cover(length: int, sizes: tuple[int, ...], overhead: int) -> tuple[int, tuple[int, ...]]:
    """Return (cost, sizes) of the cheapest tiles that cover `length`; a tile costs its size and the overhead."""
    if length <= 0:
        return 0, ()
    covers = []
    for size in reversed(sizes):
        cost, rest = _cover(length - size, sizes, overhead)
        covers.append((cost + size + overhead, (size, *rest)))
    return min(covers, key=lambda cover: cover[0])  # the first of equals: the one with the largest size in front


def cut_axis(length: int, sizes: tuple[int, ...], overhead: int) -> tuple[Span, ...]:
    """Cut an axis into spans that cover every pixel once, largest sizes first.

    The largest size is used while much is left; the rest is covered at the least cost. A tile costs its size and
    `overhead` more pixels, for what its margins add to the work and for what small tiles lose.
    """
    largest = sizes[-1]
    bodies = max(0, length // largest - 1)
    _, tail = _cover(length - bodies * largest, sizes, overhead)
    spans, start = [], 0
    for size in (largest,) * bodies + tail:
        spans.append(Span(start, min(size, length - start), size))
        start += size
    return tuple(spans)


def sizes_for(height: int, width: int, sizes: TileSizes, overhead: int, workers: int, split_above: int) -> TileSizes:
    """Return the sizes to cut a plane with: small enough for as many tiles as workers, of much the same size.

    Tiles of at most `split_above` source pixels along both axes stay whole.
    """
    lengths, sides = (height, width), list(sizes)
    while True:
        cuts = [cut_axis(length, side, overhead) for length, side in zip(lengths, sides, strict=True)]
        if len(cuts[0]) * len(cuts[1]) >= workers:
            break
        longest = [cut[0].size for cut in cuts]
        axes = [axis for axis in (0, 1) if longest[axis] > max(split_above, sides[axis][0])]
        if not axes:
            break
        axis = max(axes, key=longest.__getitem__)
        part = -(-lengths[axis] // (len(cuts[axis]) + 1))  # one more than there are
        smaller = tuple(size for size in sides[axis] if size < longest[axis])
        below = sum(size < part for size in smaller)
        sides[axis] = smaller[: below + 1]
    return TileSizes(*sides)


def padded_axis(length: int, margin: int, window_margin: int, spans: tuple[Span, ...]) -> NDArray[np.intp]:
    """Return the source index of every position of the padded axis; index 0 is position -window_margin.

    It reaches as far as the last tile does. What lies past the picture's own margin changes no kept pixel's value.
    """
    reach = spans[-1].start + spans[-1].size
    positions = np.arange(-window_margin, reach + window_margin)
    if length > margin:
        positions = np.abs(positions)
        positions = np.where(positions >= length, 2 * (length - 1) - positions, positions)
    return np.clip(positions, 0, length - 1)


@dataclass(frozen=True, slots=True, eq=False)
class CutPlane:
    """A plane with its cuts; windows are copied out of it when they are needed."""

    plane: Plane
    window_margin: int
    rows: tuple[Span, ...]
    columns: tuple[Span, ...]
    _row_sources: NDArray[np.intp]
    _column_sources: NDArray[np.intp]

    @classmethod
    def cut(cls, plane: Plane, sizes: TileSizes, margin: int, window_margin: int, overhead: int) -> "CutPlane":
        """Cut a plane of at least one pixel into cores whose heights and widths are among `sizes`; see cut_axis.

        `margin` is the network's and decides how the plane is padded; windows have `window_margin`.
        """
        height, width = plane.shape
        rows, columns = cut_axis(height, sizes.heights, overhead), cut_axis(width, sizes.widths, overhead)
        row_sources = padded_axis(height, margin, window_margin, rows)
        column_sources = padded_axis(width, margin, window_margin, columns)
        return cls(plane, window_margin, rows, columns, row_sources, column_sources)

    def read(self, row: Span, column: Span, out: NDArray[np.float32]) -> None:
        """Fill `out` (row.size + 2 window_margin, column.size + 2 window_margin) with the tile's window."""
        margin = self.window_margin
        top, left = row.start - margin, column.start - margin
        bottom, right = row.start + row.size + margin, column.start + column.size + margin
        height, width = self.plane.shape
        if top >= 0 and left >= 0 and bottom <= height and right <= width:
            out[...] = self.plane[top:bottom, left:right]
            return
        row_sources = self._row_sources[row.start : bottom + margin]
        column_sources = self._column_sources[column.start : right + margin]
        first, last = column_sources.min(), column_sources.max()
        rows = self.plane[row_sources, first : last + 1]  # pieces of rows at once: far faster than one pixel at a time
        out[...] = rows.take(column_sources - first, axis=1)
