"""What pixels tell of a picture's history: JPEG, by the steps of coefficients or by ringing around edges, and noise
and shrinking, by the estimator."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from app.codec.history import estimator, grid, ringing
from app.codec.types import Finding, Plane

TILE, TILES = 64, 8
"""Pixels of a side of the tiles that the estimator looks at, and how many at most."""
LEAST_SIGMA = 2.0
"""The least noise that is reported, in levels of 255; tests/codec/history/test_estimator.py says how often it errs."""
LEAST_PROBABILITY = 0.5
"""From this probability on, a picture counts as shrunk by area or without antialiasing, which resemble each other."""
LEAST_ALIASED = 0.22
"""From this share of it on, it counts as the second: a picture mistaken for that loses 0.5 dB, the others 1.7 dB."""
NOISE_OF_ALIASED = 6
"""Below this standard deviation, aliasing explains what looks like noise, and its network removes both."""


def findings_of(luma: Plane, lossless: bool, visible: NDArray[np.bool_] | None = None) -> list[Finding]:
    """What luma (H, W), studio range in units of full scale, went through.

    `lossless`: the file that it comes from has no losses itself. Otherwise ringing is due to that file. `visible`:
    which pixels are the picture's own, unless all are; elsewhere luma only continues them, without any steps.
    """
    tiles = coded = _tiles(luma)
    if visible is not None and visible.any() and not visible.all():
        coded = _tiles(np.where(visible, luma, luma[visible].mean()))
    return _found(tiles, coded, lossless)


def findings_of_rows(height: int, width: int, rows: Callable[[int, int], Plane], lossless: bool) -> list[Finding]:
    """The same of luma that `rows` gives, as for `grid.tiles_of`."""
    tiles = list(grid.tiles_of(height, width, rows))
    return _found(tiles, tiles, lossless)


def _tiles(luma: Plane) -> list[Plane]:
    height, width = luma.shape
    return list(grid.tiles_of(height, width, lambda first, last: luma[first:last]))


def _found(tiles: Sequence[Plane], coded: Sequence[Plane], lossless: bool) -> list[Finding]:
    """What tiles show; steps are looked for in those that are `coded`."""
    quality = grid.quality_of(coded)
    if quality is None and lossless:
        quality = ringing.quality_of(tiles)
    compressed = [] if quality is None else [Finding("grid", quality)]
    return [*compressed, *_estimated(tiles)]


def _estimated(tiles: Sequence[Plane]) -> Iterator[Finding]:
    """Noise, and how the picture was shrunk, where either is sure enough."""
    parts = [part for tile in tiles for part in _parts(tile)]
    chosen = np.unique(np.linspace(0, len(parts) - 1, TILES).round().astype(int)).tolist()
    estimate = estimator.shipped().of([parts[i] / grid.LEVELS for i in chosen if parts])
    if estimate is None:
        return
    sigma, area, aliased = estimate.sigma, estimate.ways["box"], estimate.ways["aliased"]
    if area + aliased >= LEAST_PROBABILITY:
        is_aliased = aliased >= LEAST_ALIASED * (area + aliased)
        yield Finding("aliased" if is_aliased else "area", 0)
        if is_aliased and sigma < NOISE_OF_ALIASED:
            return
    if sigma >= LEAST_SIGMA:
        yield Finding("noise", min(round(sigma), 100))


def _parts(tile: Plane) -> Iterator[Plane]:
    """The corners of luma, of at most TILE x TILE."""
    height, width = tile.shape
    for top in sorted({0, max(0, height - TILE)}):
        for left in sorted({0, max(0, width - TILE)}):
            yield tile[top : top + TILE, left : left + TILE]
