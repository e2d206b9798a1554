"""A level reduced to the size asked for: antialiased bicubic, in float, before the one rounding."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from app.codec.formulas import Formulas
from app.codec.types import Samples

_FULL = np.float32(65535)  # of the values of a Merger without a depth

Values = NDArray[np.float32]


class Shrinker:
    """One picture's rows on their way to another size, from the top down.

    Every result row is the same sum in the same order, however the rows arrive.
    """

    def __init__(
        self, source: tuple[int, int], target: tuple[int, int], depth: Literal[8, 16], formulas: Formulas
    ) -> None:
        """From (height, width) `source` to `target`, neither larger along a side; samples of `depth` bits."""
        (self._rows, self._row_weights), (self._columns, self._column_weights) = (
            _taps(*sides, formulas) for sides in zip(source, target, strict=True)
        )
        self._dtype: np.dtype[Any] = np.dtype(np.uint8 if depth == 8 else np.uint16)
        self._unit = np.float32(np.iinfo(self._dtype).max) / _FULL
        self._kept: Values | None = None
        self._top = 0  # the row of the source that the first kept one is
        self._done = 0  # rows of the result

    def add(self, values: Values) -> Samples:
        """The next rows (n, W, C) of the level, 0 to 65535; returns the rows of the result that are complete now."""
        narrow = _weighted(values.transpose(1, 0, 2), self._columns, self._column_weights).transpose(1, 0, 2)
        kept = narrow if self._kept is None else np.concatenate((self._kept, narrow))
        there = self._top + len(kept)
        end = int(np.searchsorted(self._rows[:, -1], there))  # the last tap is the lowest
        rows = slice(self._done, end)
        found = _weighted(kept, self._rows[rows] - self._top, self._row_weights[rows])
        self._done = end
        needed = min(int(self._rows[end, 0]), there) if end < len(self._rows) else there
        self._kept, self._top = np.ascontiguousarray(kept[needed - self._top :]), needed
        return np.rint(found.clip(0, _FULL) * self._unit).astype(self._dtype)


def _taps(source: int, target: int, formulas: Formulas) -> tuple[NDArray[np.int64], Values]:
    """Indices inside of the source, and weights, (target, taps)."""
    indices, weights = formulas.contributions(source, target)
    return indices.clip(0, source - 1), weights.astype(np.float32)


def _weighted(values: Values, indices: NDArray[np.int64], weights: Values) -> Values:
    """Sums of rows: (n, ...) to (len(indices), ...)."""
    out = np.zeros((len(indices), *values.shape[1:]), np.float32)
    for tap in range(indices.shape[1]):
        out += weights[:, tap, None, None] * values[indices[:, tap]]
    return out
