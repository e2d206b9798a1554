"""What the kernels in C have in common: which networks they have room for, and how they are given a convolution."""

import ctypes

import numpy as np
from numpy.typing import NDArray

from model.config import LapSRNConfig
from model.folding import Conv

CHANNELS = 64
MAX_LEVELS, MAX_CONVS = 3, 31
"""Levels, and convolutions of a level without its first one, which is the entry or part of what goes before."""
ROOM = f"networks of up to {CHANNELS} filters and {MAX_CONVS + 1} convolutions a level"
CACHE_LINE = 64
Array = NDArray[np.float32]


class ConvPointers(ctypes.Structure):
    """conv_t: addresses of weights and bias, which the caller keeps."""

    _fields_ = [("weights", ctypes.c_void_p), ("bias", ctypes.c_void_p)]


def values_of(conv: Conv) -> tuple[Array, Array]:
    """Weight and bias, float32."""
    return conv.weight.astype(np.float32), conv.bias.astype(np.float32)


def unfit(config: LapSRNConfig, source: str) -> str | None:
    """Why a network is not one for the kernels in `source`, as a phrase; None if it is."""
    deepest = max(config.depth_of_levels)
    if config.width > CHANNELS or config.levels > MAX_LEVELS or deepest > MAX_CONVS + 1:
        return (
            f"{source} has room for {CHANNELS} filters, {MAX_LEVELS} levels and {MAX_CONVS + 1} convolutions a level, "
            f"and the network has {config.width}, {config.levels} and up to {deepest}"
        )
    return None
