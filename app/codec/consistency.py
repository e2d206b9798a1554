"""What a result lacks to agree with its source in brightness: residuals and offsets, added before the one rounding.

Where the network overshoots, clipping moves the mean. One step of iterative back-projection (Irani and Peleg, 1991)
makes luma and alpha, clipped and shrunk, agree with their source pixel by pixel, as far as one linear step can. What
clipping still costs is found in blocks: for every channel the offset that brings the clipped block's mean to its
source's. consistency.c does the same in C.
"""

import numpy as np
from numpy.typing import NDArray

from app.codec.types import Plane

BLOCK = 4  # source rows and columns of a block
REACH = 2  # source rows above and below that a residual is computed from, and that an enlargement reads
LOOKBACK, LOOKAHEAD = 2 * BLOCK - 1, 2 * BLOCK - 1 + 2 * REACH
"""Source rows above and below a row that have to be there when it is merged: those of its block and of the next one;
and below, what enlarging and computing their residuals reads. Residuals above have been computed already.
"""

_STEPS = 4  # of Newton's method, at most
_NEAR = np.float32(1 / 510)  # half a level of 8 bits: a mean this near agrees
_EDGE = np.float32(1 / 1024)  # nearer to black or white than this, a value is at the edge
_LEAST_SHARE = np.float32(0.15)  # of a block that is taken to move with its offset, so that steps stay short


def blocks(length: int) -> int:
    """How many blocks cover a side of the source."""
    return -(-length // BLOCK)


def residual(
    source: Plane, enlarged: Plane, limits: tuple[float, float], kernel: tuple[Plane, int], first: int, last: int
) -> Plane:
    """Source rows [first, last) of `source` (H, W) minus `enlarged` (H * scale, W * scale), clipped and shrunk.

    `kernel` is what Formulas.downsample_kernel gives. Beyond the border, border pixels are repeated.
    """
    scale = enlarged.shape[1] // source.shape[1]
    (weights, offset), (low, high) = kernel, map(np.float32, limits)
    reach = offset + np.arange(len(weights))

    def taps(positions: NDArray[np.intp], length: int) -> NDArray[np.intp]:
        found: NDArray[np.intp] = np.add.outer(positions * scale, reach).clip(0, length - 1)
        return found

    rows = enlarged[taps(np.arange(first, last), enlarged.shape[0])].clip(low, high)
    lines = np.einsum("t,ytx->yx", weights, rows)
    shrunk = np.einsum("t,yxt->yx", weights, lines[:, taps(np.arange(source.shape[1]), enlarged.shape[1])])
    lacking: Plane = source[first:last] - shrunk
    return lacking


def shifted(values: NDArray[np.float32], targets: NDArray[np.float32], side: int, full: int) -> NDArray[np.float32]:
    """`values` (C, rows, columns) so that their blocks, clipped to 0..full, have nearly the means `targets`.

    Blocks are of `side` x `side`, the last ones smaller; `targets` (C, block rows, block columns). Between the centres
    of blocks, offsets are bilinear. Means that agree to half a level of 8 bits need none.
    """
    offsets = _offsets(values, targets, side, np.float32(full))
    for axis in (1, 2):
        place = np.arange(values.shape[axis]) + side // 2
        after = place // side
        share = ((place % side + np.float32(0.5)) / side).astype(np.float32)
        low = offsets.take((after - 1).clip(0), axis=axis)
        high = offsets.take(after.clip(None, offsets.shape[axis] - 1), axis=axis)
        offsets = low + (high - low) * (share[:, None] if axis == 1 else share)
    return values + offsets


def _offsets(
    values: NDArray[np.float32], targets: NDArray[np.float32], side: int, full: np.float32
) -> NDArray[np.float32]:
    """One for each target, by Newton's method; what can still move is counted on the side that it has to move to."""
    height, width = values.shape[1:]
    found, edge, near = np.zeros_like(targets), full * _EDGE, full * _NEAR
    for _ in range(_STEPS):
        moved = values + found.repeat(side, axis=1)[:, :height].repeat(side, axis=2)[..., :width]
        errors = targets - block_means(moved.clip(0, full), side)
        up = block_means(((moved > -edge) & (moved < full - edge)).astype(np.float32), side)
        down = block_means(((moved > edge) & (moved < full + edge)).astype(np.float32), side)
        # From nothing to nearly all of the error, without a jump, as it grows beyond what is near.
        missing = errors - near**2 / np.where(np.abs(errors) > near, errors, np.copysign(near, errors))
        missing[np.abs(errors) <= near] = 0
        found += missing / np.maximum(np.where(errors > 0, up, down), _LEAST_SHARE)
    return found


def block_means(values: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """The means of (C, rows, columns) in blocks of `side` x `side`, of which the last ones may be smaller."""
    for axis in (1, 2):
        starts = np.arange(0, values.shape[axis], side)
        sizes = np.minimum(side, values.shape[axis] - starts).astype(np.float32)
        values = np.add.reduceat(values, starts, axis=axis) / (sizes[:, None] if axis == 1 else sizes)
    return values
