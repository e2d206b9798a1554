"""The colour and resampling formulas the codec computes with; they are handed in, and written down elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Formulas:
    """A luma-chroma transform, in which gray has no chroma beyond its offset, and resampling kernels, in float64.

    `ycbcr_from_rgb` (3, 3) and `ycbcr_offset` (3,): ycbcr = rgb @ M.T + offset, everything in units of full scale.
    `rgb_from_ycbcr` (3, 3) is the inverse of M. `upsample_kernel(scale)` gives phases (scale, taps) and an offset:
    out[scale * i + p] = sum over t of phases[p, t] * in[clamp(i + offset + t)]. `downsample_kernel(scale)` gives
    weights (taps,) and an offset: out[i] = sum over t of weights[t] * in[clamp(scale * i + offset + t)].
    `contributions(source, target)` gives unclamped indices and weights (target, taps) of any change of length.
    """

    ycbcr_from_rgb: NDArray[np.float64]
    ycbcr_offset: NDArray[np.float64]
    rgb_from_ycbcr: NDArray[np.float64]
    upsample_kernel: Callable[[int], tuple[NDArray[np.float64], int]]
    downsample_kernel: Callable[[int], tuple[NDArray[np.float64], int]]
    contributions: Callable[[int, int], tuple[NDArray[np.int64], NDArray[np.float64]]]

    @property
    def gray_gain(self) -> float:
        """How much luma one unit of gray (R' = G' = B') makes."""
        return float(self.ycbcr_from_rgb[0].sum())

    @property
    def gray_offset(self) -> float:
        """The luma of black."""
        return float(self.ycbcr_offset[0])
