"""MATLAB-compatible bicubic resampling, the one definition for training, evaluation and serving.

The kernel is Keys (1981) with a = -0.5; when shrinking it is widened by the factor (antialiasing), as MATLAB's imresize
does. Sample centres are at half-integers, and the border is replicated.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

KERNEL_WIDTH = 4
Pass = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel with a = -0.5, supported on [-2, 2]."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def contributions(source: int, target: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Which of `source` samples make each of `target` samples: unclamped indices and weights, both (target, taps)."""
    scale = target / source
    shrink = min(scale, 1.0)
    width = KERNEL_WIDTH / shrink
    taps = int(np.ceil(width)) + 2
    centre = (np.arange(target) + 0.5) / scale - 0.5
    first = np.floor(centre - width / 2).astype(np.int64)
    indices = first[:, None] + np.arange(taps)
    weights = cubic(shrink * (centre[:, None] - indices))
    weights /= weights.sum(axis=1, keepdims=True)
    used = np.flatnonzero(np.any(np.abs(weights) > 1e-12, axis=0))
    kept = slice(used[0], used[-1] + 1)
    return indices[:, kept], weights[:, kept]


def _along(plane: NDArray[np.float64], target: int, axis: int) -> NDArray[np.float64]:
    source = plane.shape[axis]
    indices, weights = contributions(source, target)
    indices = np.clip(indices, 0, source - 1)
    out = np.zeros(())
    for tap in range(indices.shape[1]):
        shape = [1] * plane.ndim
        shape[axis] = target
        out = out + np.take(plane, indices[:, tap], axis=axis) * weights[:, tap].reshape(shape)
    return out


def resize(
    plane: NDArray[np.float32] | NDArray[np.float64], height: int, width: int, after_pass: Pass | None = None
) -> NDArray[np.float64]:
    """A plane (H, W) at `height` x `width`, float64, not clipped: first down the columns, then along the rows.

    `after_pass` is applied after each of the two passes; the 8-bit recipe rounds there.
    """
    out = np.asarray(plane, dtype=np.float64)
    for axis, target in ((0, height), (1, width)):
        if out.shape[axis] != target:
            out = _along(out, target, axis)
            out = after_pass(out) if after_pass else out
    return out


def round_to_uint8(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round half up and clip to 0..255, as MATLAB's uint8() does, still as float64."""
    return np.clip(np.floor(values + 0.5), 0, 255)


def degrade(picture: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """An 8-bit picture (H, W) or (H, W, C) shrunk by `factor`: the degradation the network is trained to undo.

    The recipe is MATLAB's imresize on uint8: antialiased, rounded to 8 bits after each pass. Sides must divide.
    """
    height, width = picture.shape[:2]
    if height % factor or width % factor:
        raise ValueError(f"sides {height}x{width} are not multiples of {factor}; crop the picture first")
    channels = picture[..., None] if picture.ndim == 2 else picture
    small = [
        resize(channels[..., c].astype(np.float64), height // factor, width // factor, round_to_uint8)
        for c in range(channels.shape[2])
    ]
    return np.stack(small, axis=-1).astype(np.uint8).reshape(height // factor, width // factor, *picture.shape[2:])


def upsample_kernel(scale: int) -> tuple[NDArray[np.float64], int]:
    """The bicubic enlargement by an integer as a polyphase filter: phases (scale, taps) and the offset of tap 0.

    out[scale * i + p] = sum over t of phases[p, t] * in[clamp(i + offset + t)]. Each phase sums to 1.
    """
    middle = 4  # far enough from both ends of an 8-sample line that no index is clamped
    indices, weights = contributions(8, 8 * scale)
    indices, weights = indices[middle * scale : (middle + 1) * scale], weights[middle * scale : (middle + 1) * scale]
    offset = int(indices.min()) - middle
    phases = np.zeros((scale, int(indices.max()) - middle - offset + 1))
    for phase in range(scale):
        phases[phase, indices[phase] - middle - offset] = weights[phase]
    used = np.flatnonzero(np.any(np.abs(phases) > 1e-12, axis=0))
    return phases[:, used[0] : used[-1] + 1], offset + int(used[0])


def downsample_kernel(scale: int) -> tuple[NDArray[np.float64], int]:
    """The antialiased bicubic reduction by an integer as a filter: weights (taps,) and the offset of tap 0.

    out[i] = sum over t of weights[t] * in[clamp(scale * i + offset + t)]. The weights sum to 1.
    """
    indices, weights = contributions(scale, 1)
    return weights[0], int(indices[0, 0])
