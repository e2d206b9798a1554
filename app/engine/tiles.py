"""Where a picture is cut, and how a tile's window is read from it: any cut gives the same output pixels.

The picture is padded at its own border by reflection (`numpy.pad(mode="reflect")`), or by edge replication along an
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
class Cutting:
    """How planes are cut into tiles; lengths are in source pixels."""

    sizes: TileSizes
    margin: int
    """What an output pixel can see on each side; it decides how a plane is padded."""
    window_margin: int
    """What a tile's window has on each side of its core; at least `margin`."""
    overhead: int
    """What a tile costs along an axis in addition to its core; see cut_axis."""
    workers: int = 1
    """At least so many tiles, of much the same size, are cut, unless they get small: see `split_above`."""
    split_above: int = 0
    """Tiles that are no longer than this along both axes are not cut further for the sake of `workers`."""


@dataclass(frozen=True, slots=True)
class Span:
    """Source pixels [start, start + length) of an axis, computed by a tile of core size `size` >= length."""

    start: int
    length: int
    size: int


@lru_cache(maxsize=4096)
def _cover(length: int, sizes: tuple[int, ...], overhead: int) -> tuple[int, tuple[int, ...]]:
    """(cost, sizes) of the cheapest tiles that cover `length`; a tile costs its size and the overhead."""
    if length <= 0:
        return 0, ()
    covers = []
    for size in reversed(sizes):
        cost, rest = _cover(length - size, sizes, overhead)
        covers.append((cost + size + overhead, (size, *rest)))
    return min(covers, key=lambda cover: cover[0])  # the first of equals: the one with the largest size in front


def cut_axis(length: int, sizes: tuple[int, ...], overhead: int) -> tuple[Span, ...]:
    """Cuts an axis into spans that cover every pixel once, largest sizes first.

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


def cut_axes(height: int, width: int, cutting: Cutting) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Cuts the rows and the columns of a plane, for as many tiles as workers unless they get small; see Cutting."""
    lengths, sides = (height, width), list(cutting.sizes)
    while True:
        rows, columns = (cut_axis(*each, cutting.overhead) for each in zip(lengths, sides, strict=True))
        longest = rows[0].size, columns[0].size
        axes = [axis for axis in (0, 1) if longest[axis] > max(cutting.split_above, sides[axis][0])]
        if len(rows) * len(columns) >= cutting.workers or not axes:
            return rows, columns
        axis = max(axes, key=longest.__getitem__)
        part = -(-lengths[axis] // (len((rows, columns)[axis]) + 1))  # one more than there are
        smaller = tuple(size for size in sides[axis] if size < longest[axis])
        below = sum(size < part for size in smaller)
        sides[axis] = smaller[: below + 1]


def padded_axis(length: int, margin: int, window_margin: int, spans: tuple[Span, ...]) -> NDArray[np.intp]:
    """The source index of every position of the padded axis; index 0 is position -window_margin.

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
    def cut(cls, plane: Plane, cutting: Cutting) -> "CutPlane":
        """Cuts a plane of at least one pixel."""
        height, width = plane.shape
        rows, columns = cut_axes(height, width, cutting)
        row_sources = padded_axis(height, cutting.margin, cutting.window_margin, rows)
        column_sources = padded_axis(width, cutting.margin, cutting.window_margin, columns)
        return cls(plane, cutting.window_margin, rows, columns, row_sources, column_sources)

    def read(self, row: Span, column: Span, out: NDArray[np.float32]) -> None:
        """Fills `out` (row.size + 2 window_margin, column.size + 2 window_margin) with the tile's window."""
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
