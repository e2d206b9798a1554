"""Finds that a drawing or text was a JPEG once: what rings around its edges ends where blocks of JPEG's grid do.

On a flat background every block without an edge stays flat, and those with one have specks. So at the grid's position
more blocks are flat than elsewhere, and the blocks that are not have specks far from any edge. app.codec.history.grid
cannot tell it there: a background that is as bright or dark as can be cuts the ringing off, and no coefficient is a
multiple of its step any more.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_SPECK, _EDGE = 0.9, 40.0  # levels that neighbours differ by: less is flat, and more is an edge
_LEAST_FLAT, _MOST_AT_THE_GRID = 0.2, 0.92
"""Of all blocks at the grid's position; and of those that are not flat, over their mean at all positions."""
_LEAST_APART, _LEAST_BLOCKS = 3.0, 64
"""Standard deviations of the other positions that the grid's is below their mean; and the blocks that are not flat.
Some position has the fewest in every drawing."""
_LEAST_CLEAR = 50.0  # levels, the median of edges: where contrast is as low as _EDGE, smoothed ones pass for specks
_LEAST_EDGED = 0.85  # of the blocks that are not flat
_LEAST_NEAR, _LEAST_SPECKLED, _LEAST_PIXELS = 0.65, 0.2, 200
"""Of the pixels in them that are far from edges: those like the background, those that differ from a neighbour, all."""
_LEVELS, _QUALITIES = (1.2, 1.75, 3.3, 4.8, 7.0, 9.5, 10.5), (96, 95, 90, 85, 75, 50, 30)
"""Root mean squares of the differences in specks, and the qualities of JPEGs of black text on white that have them."""


def quality_of(tiles: Iterable[NDArray[np.float32]]) -> int | None:
    """About the quality that a picture was coded with, from its parts as of `grid.tiles_of`; None if they show none."""
    flat, total = np.zeros((8, 8)), np.zeros((8, 8))
    stepped = ((tile, np.abs(np.diff(tile))) for tile in tiles)
    drawn = [(tile, steps) for tile, steps in stepped if (steps < _SPECK).mean() > _LEAST_FLAT]
    for tile, steps in drawn:
        found = _flat_blocks(tile, steps)
        for down, across in np.ndindex(8, 8):
            here = found[down::8, across::8]
            flat[down, across] += here.sum()
            total[down, across] += here.size
    if not drawn or flat.max() < _LEAST_FLAT * total.max():
        return None
    other = 1 - flat / total.clip(1)
    down, across = np.unravel_index(other.argmin(), other.shape)
    elsewhere = np.delete(other, down * 8 + across)
    most = min(_MOST_AT_THE_GRID * other.mean(), elsewhere.mean() - _LEAST_APART * elsewhere.std())
    if other[down, across] > most:
        return None
    edges = np.concatenate([steps[steps >= _EDGE] for _, steps in drawn])
    if not edges.size or np.median(edges) < _LEAST_CLEAR:
        return None
    blocks, edged, specks, near = zip(*(_ringing(tile[down:, across:]) for tile, _ in drawn), strict=True)
    differences = np.concatenate(specks)
    if sum(blocks) < _LEAST_BLOCKS or sum(edged) < _LEAST_EDGED * sum(blocks):
        return None
    if sum(near) < max(_LEAST_NEAR * differences.size, _LEAST_PIXELS):
        return None
    level = float(np.sqrt(np.mean(differences**2)))
    if (differences > _SPECK).mean() < _LEAST_SPECKLED or level < _LEVELS[0]:
        return None
    return round(float(np.interp(level, _LEVELS, _QUALITIES)))


def _flat_blocks(tile: NDArray[np.float32], steps: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether each 8 x 8 pixels, by their first row and column, are of one level: (H - 7, W - 7).

    `steps` (H, W - 1) are what neighbours in a row differ by.
    """
    across = _windows(steps >= _SPECK, 8, 7)
    down = _windows(np.abs(np.diff(tile, axis=0)) >= _SPECK, 7, 8)
    found: NDArray[np.bool_] = (across == 0) & (down == 0)
    return found


def _windows(marks: NDArray[np.bool_], height: int, width: int) -> NDArray[np.int32]:
    """How many marks there are in each window."""
    sums = np.pad(marks.astype(np.int32).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    found: NDArray[np.int32] = (
        sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    )
    return found


def _ringing(rows: NDArray[np.float32]) -> tuple[int, int, NDArray[np.float32], int]:
    """How many blocks are not flat, and how many of them have an edge; and of pixels in them with no edge within two
    pixels: how they differ from their neighbours in the row, and how many are like the background.

    `rows` begin where a block does.
    """
    height, width = (length // 8 * 8 for length in rows.shape)
    if not (height and width):  # at the edges, where what is left of a part is less than a block
        return 0, 0, np.zeros(0, np.float32), 0
    rows = rows[:height, :width]
    across, down = np.abs(np.diff(rows, axis=1, append=rows[:, -1:])), np.abs(np.diff(rows, axis=0, append=rows[-1:]))
    steps, blocks = np.maximum(across, down), (height // 8, 8, width // 8, 8)
    values = rows.reshape(blocks)
    marked = values.max(axis=(1, 3)) - values.min(axis=(1, 3)) >= _SPECK
    edged = (steps.reshape(blocks).max(axis=(1, 3)) >= _EDGE) & marked
    far = _windows(np.pad(steps >= _EDGE, ((3, 2), (3, 2)), mode="edge"), 6, 6) == 0
    far &= marked.repeat(8, 0).repeat(8, 1)
    background = np.inf if marked.all() else np.median(values.transpose(0, 2, 1, 3)[~marked])
    near = np.abs(rows[far] - background) < _EDGE
    return int(marked.sum()), int(edged.sum()), across[far], int(near.sum())
