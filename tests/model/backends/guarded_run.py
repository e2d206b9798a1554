"""Runs a backend with numpy's buffers full of NaN, each right at a page that nobody may touch; exits 0 if all is well.

    python -m tests.model.backends.guarded_run BACKEND DTYPE before|behind

For a process of its own: what reaches outside a buffer ends it.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import numpy as np
import torch

from model.backends.backend import Compute
from model.backends.registry import by_name
from model.checkpoint import parameters_of
from model.network import LapSRN, LapSRNConfig
from tests.guarded import guarded
from tests.model.networks import random_network

NETWORKS = [(2, 1, 16), (4, 5, 64), (4, 10, 16), (8, 4, 16), (8, 5, 16)]
"""(scale, depth, width); they differ in how many rows of each layer are kept."""
CORES = [(1, 1), (1, 2), (2, 1), (3, 5), (7, 16), (16, 15), (17, 18), (33, 50), (40, 31)]
"""Every odd and even size that is small, and some that are not."""


def main(backend: str, dtype: str, side: str) -> None:
    """Every network at every size of a core."""
    torch.set_num_threads(1)
    for scale, depth, width in NETWORKS:
        check(random_network(LapSRNConfig(scale=scale, depth=depth, width=width)), backend, dtype, side)


def check(network: LapSRN, backend: str, dtype: str, side: str) -> None:
    """The result is the same as with ordinary memory."""
    margin, levels = by_name(backend).window_margin(network.config), network.config.levels
    plain = built(network, backend, dtype)
    with mock.patch.object(np, "empty", lambda shape, dtype=float, **_: guarded(side, shape, dtype)):
        careful = built(network, backend, dtype)
        for height, width in CORES:
            shape = (1, height + 2 * margin, width + 2 * margin)
            luma = np.random.default_rng(height).random(shape, np.float32)
            tile = guarded(side, shape, np.float32)
            tile[:] = luma
            with ThreadPoolExecutor(1) as thread:  # a new one, without the memory that a thread keeps for later tiles
                cores = thread.submit(careful, tile, levels).result()
            for mine, expected in zip(cores, plain(luma, levels), strict=True):
                np.testing.assert_array_equal(mine, expected)


def built(network: LapSRN, backend: str, dtype: str) -> Compute:
    """What the backend builds for the network."""
    return by_name(backend).build(parameters_of(network), network.config, "cpu", dtype)


if __name__ == "__main__":
    main(*sys.argv[1:])
