"""Cuts pictures into tiles, and reads the tiles' windows: any cut gives the same output pixels.

The picture is padded at its own border by its mirror image, edge included (`numpy.pad(mode="symmetric")`). A tile's
window may extend beyond the network's margin, and so does the padding: the values out there change no output pixel by
more than a rounding error, and are the same for any cut. The padded picture is never stored: each of its axes is an
array of source indices.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.engine.ports import Plane


class Shape(NamedTuple):
    """What the tiles of a batch have in common: the core's sides in source pixels, the target scale, the network, the
    clean-up strength, and whether the picture has compression losses (always True at strength 0, where it makes no
    difference). `work` is the work for one tile, and follows from the other fields.
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
    """The possible heights and widths of cores, each ascending."""

    heights: tuple[int, ...]
    widths: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cutting:
    """How planes are cut into tiles; lengths are in source pixels."""

    sizes: TileSizes
    window_margin: int
    """The margin of a tile's window on each side of its core."""
    overhead: int
    """The cost of a tile along an axis in addition to its core; see cut_axis."""
    workers: int = 1
    """The minimum number of tiles, of about equal size, as far as `split_above` permits."""
    split_above: int = 0
    """Cores no longer than this along both axes are not split further for the sake of `workers`."""


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
    return min(covers, key=lambda cover: cover[0])  # among equals the first, which starts with the largest size


def cut_axis(length: int, sizes: tuple[int, ...], overhead: int) -> tuple[Span, ...]:
    """Cuts an axis into spans that cover every pixel once, largest sizes first.

    The largest size is used as long as two of it fit; the rest is covered at minimum cost. A tile costs its size plus
    `overhead` pixels, which account for its margins and for the lower efficiency of small tiles.
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
    """Cuts the rows and the columns of a plane, into at least as many tiles as workers if possible; see Cutting."""
    lengths, sides = (height, width), list(cutting.sizes)
    while True:
        rows, columns = (cut_axis(*each, cutting.overhead) for each in zip(lengths, sides, strict=True))
        longest = rows[0].size, columns[0].size
        axes = [axis for axis in (0, 1) if longest[axis] > max(cutting.split_above, sides[axis][0])]
        if len(rows) * len(columns) >= cutting.workers or not axes:
            return rows, columns
        axis = max(axes, key=longest.__getitem__)
        part = -(-lengths[axis] // (len((rows, columns)[axis]) + 1))  # one more tile than before
        smaller = tuple(size for size in sides[axis] if size < longest[axis])
        below = sum(size < part for size in smaller)
        sides[axis] = smaller[: below + 1]


def fewest_tiles(height: int, width: int, sizes: TileSizes) -> int:
    """A lower bound of the tiles of a plane, without cutting it."""
    return -(-height // sizes.heights[-1]) * -(-width // sizes.widths[-1])


def padded_axis(length: int, window_margin: int, spans: tuple[Span, ...]) -> NDArray[np.intp]:
    """The source index of every position of the padded axis; index 0 is position -window_margin.

    It extends to the end of the last window.
    """
    reach = spans[-1].start + spans[-1].size
    positions = np.arange(-window_margin, reach + window_margin) % (2 * length)  # mirror images have this period
    return np.minimum(positions, 2 * length - 1 - positions)


@dataclass(frozen=True, slots=True, eq=False)
class CutPlane:
    """A plane and its cuts; windows are copied from it when they are needed."""

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
        row_sources = padded_axis(height, cutting.window_margin, rows)
        column_sources = padded_axis(width, cutting.window_margin, columns)
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
        rows = self.plane[row_sources, first : last + 1]  # slices of rows: far faster than indexing single pixels
        out[...] = rows.take(column_sources - first, axis=1)
