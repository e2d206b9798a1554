"""Runs amx.c with every buffer full of NaN and right at a page that nobody may touch; exits 0 if all is well.

    python -m tests.model.guarded before|behind SCALE DEPTH

For a process of its own: what reaches outside a buffer ends it.
"""

import ctypes
import mmap
import sys
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from model import amx
from model.folded import centred
from model.network import LapSRNConfig
from tests.model.networks import random_network

PAGE, PROT_NONE = mmap.PAGESIZE, 0


def guarded(side: str, shape: Any, dtype: type = float) -> NDArray[Any]:
    """As np.empty, filled with ones, the guard page `before` or `behind` it."""
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    pages = -(-count // PAGE) + 1
    memory = mmap.mmap(-1, pages * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    guard = start if side == "before" else start + (pages - 1) * PAGE
    if ctypes.CDLL(None, use_errno=True).mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(PAGE), PROT_NONE):
        raise OSError(ctypes.get_errno(), "mprotect")
    offset = PAGE if side == "before" else (pages - 1) * PAGE - count
    array = np.frombuffer(memory, np.uint8, count, offset)
    array[:] = 0xFF
    return array.view(dtype).reshape(shape)


def main(side: str, scale: int, depth: int) -> None:
    """Every odd and even size that is small, and some that are not."""
    network = random_network(LapSRNConfig(scale=scale, depth=depth))
    plain = amx.AmxNetwork(centred(network.fold()))
    margin, levels = network.config.margin, network.config.levels
    with mock.patch.object(np, "empty", lambda shape, dtype=float: guarded(side, shape, dtype)):
        careful = amx.AmxNetwork(centred(network.fold()))
        for height, width in [(1, 1), (1, 2), (2, 1), (3, 5), (7, 16), (16, 15), (17, 18), (33, 50), (40, 31)]:
            shape = (1, height + 2 * margin, width + 2 * margin)
            luma = np.random.default_rng(height).random(shape, np.float32)
            tile = guarded(side, shape, np.float32)
            tile[:] = luma
            got = careful(tile, levels)
            for mine, expected in zip(got, plain(luma, levels), strict=True):
                np.testing.assert_array_equal(mine, expected)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
