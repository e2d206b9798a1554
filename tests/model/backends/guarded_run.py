"""Runs a backend with numpy's buffers full of NaN, each right before or behind a page that nobody may touch; exits 0 if
all is well.

    python -m tests.model.backends.guarded_run BACKEND DTYPE

For a process of its own: what reaches outside a buffer ends it.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray

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
"""They differ in how many rows of each layer are kept; PyTorch, which keeps none, runs the first three."""
CORES = [(1, 1), (1, 2), (2, 1), (3, 5), (7, 16), (16, 15), (17, 18), (33, 50)]
"""Every odd and even size that is small, and some that are not."""
SIDES = ("before", "behind")


def main(backend: str, dtype: str) -> None:
    """Every network at every size of a core, on the CPU's AMX or its emulation, if the backend is that."""
    torch.set_num_threads(1)
    with wherever_it_runs() if backend == "amx" else nullcontext():
        for config in NETWORKS[:3] if backend == "torch" else NETWORKS:
            check(random_network(config), backend, dtype)


def check(network: LapSRN, backend: str, dtype: str) -> None:
    """The result is the same as with ordinary memory, on whichever side of it the page is."""
    margin, levels = by_name(backend).window_margin(network.config), network.config.levels
    plain = built(network, backend, dtype)
    lumas = [np.random.default_rng(h).random((1, h + 2 * margin, w + 2 * margin), np.float32) for h, w in CORES]
    wanted = [plain(luma, levels) for luma in lumas]
    for side in SIDES:
        with mock.patch.object(np, "empty", partial(empty, side)):
            careful = built(network, backend, dtype)
            for luma, expected in zip(lumas, wanted, strict=True):
                tile = guarded(side, luma.shape, np.float32)
                tile[:] = luma
                with ThreadPoolExecutor(1) as thread:  # a new one, without the memory that a thread keeps
                    cores = thread.submit(careful, tile, levels).result()
                for mine, right in zip(cores, expected, strict=True):
                    np.testing.assert_array_equal(mine, right)


def empty(side: str, shape: Any, dtype: Any = float, **_: Any) -> NDArray[Any]:
    """As np.empty."""
    return guarded(side, shape, dtype)


def built(network: LapSRN, backend: str, dtype: str) -> Compute:
    """What the backend builds for the network."""
    return by_name(backend).build(parameters_of(network), network.config, "cpu", dtype)


if __name__ == "__main__":
    main(*sys.argv[1:])
