"""Runs a backend with numpy's buffers full of NaN, each right at a page that nobody may touch; exits 0 if all is well.

    python -m tests.model.backends.guarded_run BACKEND DTYPE before|behind

For a process of its own: what reaches outside a buffer ends it.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from unittest import mock

import numpy as np
import torch

from model.backends.backend import Compute
from model.backends.registry import by_name
from model.checkpoint import parameters_of
from model.network import LapSRN, LapSRNConfig
from tests.guarded import guarded
from tests.model.backends.emulation import wherever_it_runs
from tests.model.networks import random_network

NETWORKS = [
    LapSRNConfig(scale=2, depth=1, width=16),
    LapSRNConfig(scale=4, depth=5, width=64),
    LapSRNConfig(scale=4, depth=10, width=16),
    LapSRNConfig(scale=8, depth=4, width=16),
    LapSRNConfig(scale=8, depth=5, width=16),
    LapSRNConfig(scale=2, depth=17, width=8, skips=True),
    LapSRNConfig(scale=4, depths=(1, 3), width=8, skips=True),
    LapSRNConfig(scale=4, depths=(7, 5), width=8, skips=True),
    LapSRNConfig(scale=8, depths=(5, 3, 1), width=8, skips=True),
]
"""They differ in how many rows of each layer are kept."""
CORES = [(1, 1), (1, 2), (2, 1), (3, 5), (7, 16), (16, 15), (17, 18), (33, 50), (40, 31)]
"""Every odd and even size that is small, and some that are not."""


def main(backend: str, dtype: str, side: str) -> None:
    """On the CPU's AMX or its emulation, if the backend is that."""
    torch.set_num_threads(1)
    with wherever_it_runs() if backend == "amx" else nullcontext():
        check_all(backend, dtype, side)


def check_all(backend: str, dtype: str, side: str) -> None:
    """Every network at every size of a core."""
    for config in NETWORKS:
        check(random_network(config), backend, dtype, side)


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
