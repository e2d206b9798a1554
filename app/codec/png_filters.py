"""PNG row filters. (PNG, third edition, clause 9.)

png_filters.c does it where it is compiled, and numpy elsewhere: the same bytes, at a tenth of the speed.
"""

import ctypes

import numpy as np
from numpy.typing import NDArray

from app.codec.native import library
from app.codec.types import Bytes

NONE, SUB, UP, AVERAGE, PAETH = range(5)
ADAPTIVE = (PAETH, UP, AVERAGE, SUB, NONE)
_CHUNK = 32 * 1024  # bytes of picture filtered at a time: a dozen temporaries of this size stay in the cache


def filtered(rows: Bytes, above: Bytes | None, step: int, kinds: tuple[int, ...] = ADAPTIVE) -> Bytes:
    """Rows (H, B) with a filter byte before each, (H, 1 + B), flattened.

    `above` is the row before the first, None at the picture's top; `step` is the bytes of a pixel, at least 1. Each
    row takes whichever of `kinds` has the smallest sum of absolute differences, the first of equals.
    """
    if (found := library()) is not None:
        return _compiled(found, rows, above, step, kinds)
    height, length = rows.shape
    out = np.empty((height, 1 + length), np.uint8)
    if kinds == (NONE,):
        out[:, 0], out[:, 1:] = NONE, rows
        return out.ravel()
    padded = np.zeros((height + 1, step + length), np.uint8)
    padded[1:, step:] = rows
    if above is not None:
        padded[0, step:] = above
    count = max(1, _CHUNK // max(1, length))
    for top in range(0, height, count):
        bottom = min(top + count, height)
        _filter_chunk(padded[top : bottom + 1], step, out[top:bottom], kinds)
    return out.ravel()


def _compiled(native: ctypes.CDLL, rows: Bytes, above: Bytes | None, step: int, kinds: tuple[int, ...]) -> Bytes:
    """As `filtered`, in one call that lets other Python threads run. Raises MemoryError."""
    rows, choices = np.ascontiguousarray(rows), np.array(kinds, np.uint8)
    before = None if above is None else np.ascontiguousarray(above)
    out = np.empty((rows.shape[0], 1 + rows.shape[1]), np.uint8)
    first = None if before is None else before.ctypes.data
    if native.png_filter_rows(
        rows.ctypes.data, first, *rows.shape, step, choices.ctypes.data, len(choices), out.ctypes.data
    ):
        raise MemoryError("no memory to filter a row of a PNG")
    return out.ravel()


def unfiltered(rows: Bytes) -> Bytes:
    """As `filtered` with NONE for a whole picture, but a row that repeats the one above becomes zeros, by UP."""
    out = np.empty((rows.shape[0], 1 + rows.shape[1]), np.uint8)
    out[:, 0], out[:, 1:] = NONE, rows
    repeated = 1 + np.flatnonzero((rows[1:] == rows[:-1]).all(axis=1))
    out[repeated, 0], out[repeated, 1:] = UP, 0
    return out.ravel()


def _filter_chunk(padded: Bytes, step: int, out: Bytes, kinds: tuple[int, ...]) -> None:
    candidates = [_differences(padded, step, kind) for kind in kinds]
    best = np.zeros(len(out), np.intp)
    if len(candidates) > 1:
        best = np.stack([_cost(candidate) for candidate in candidates]).argmin(axis=0)
    out[:, 0] = np.array(kinds, np.uint8)[best]
    body = out[:, 1:]
    body[...] = candidates[0]
    if best.any():
        for index, candidate in enumerate(candidates[1:], start=1):
            chosen = best == index
            body[chosen] = candidate[chosen]


def _differences(padded: Bytes, step: int, kind: int) -> Bytes:
    here, up, left = padded[1:, step:], padded[:-1, step:], padded[1:, :-step]
    if kind == NONE:
        return here
    if kind == UP:
        return here - up
    if kind == SUB:
        return here - left
    if kind == AVERAGE:
        return here - ((left & up) + ((left ^ up) >> 1))  # half the sum, in bytes
    return here - _paeth(left, up, padded[:-1, :-step])


def _cost(differences: Bytes) -> NDArray[np.uint32]:
    """Sum over each row of differences as signed bytes, without their sign."""
    sums: NDArray[np.uint32] = np.minimum(differences, 0 - differences).sum(axis=1, dtype=np.uint32)
    return sums


def _paeth(left: Bytes, up: Bytes, corner: Bytes) -> Bytes:
    """The predictor of clause 9.4, in bytes throughout.

    With p = left + up - corner, |p - left| = |up - corner| and |p - up| = |left - corner|. |p - corner| is the
    difference of these two where up and left lie on opposite sides of the corner, and else their sum, which is never
    the smallest: 255 stands for it.
    """
    far_left = np.maximum(up, corner) - np.minimum(up, corner)
    far_up = np.maximum(left, corner) - np.minimum(left, corner)
    same_side = 0 - ((up > corner) == (left > corner)).view(np.uint8)
    far_corner = (np.maximum(far_left, far_up) - np.minimum(far_left, far_up)) | same_side
    take_left = 0 - (far_left <= np.minimum(far_up, far_corner)).view(np.uint8)
    take_up = 0 - (far_up <= far_corner).view(np.uint8)
    other = corner ^ ((up ^ corner) & take_up)
    predicted: Bytes = other ^ ((left ^ other) & take_left)
    return predicted
