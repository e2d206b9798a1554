"""Runs winograd.c with every buffer full of NaN and right at a page that nobody may touch; exits 0 if all is well.

    python -m tests.model.backends.guarded_winograd before|behind LIBRARIES

For a process of its own: what reaches outside a buffer ends it.
"""

import sys
import threading
from pathlib import Path
from unittest import mock

import numpy as np

from model.backends.winograd import winograd
from model.folded import FoldedLapSRN, centred
from model.network import LapSRNConfig
from tests.guarded import guarded
from tests.model.networks import random_network


def main(side: str, libraries: str) -> None:
    """Every target that runs here; small sizes, and some that fill more than one block of patches."""
    winograd.FOLDER = Path(libraries)
    for config in (LapSRNConfig(scale=2, depth=1), LapSRNConfig(scale=4, depth=5), LapSRNConfig(scale=8, depth=2)):
        network = centred(random_network(config).fold())
        for target in winograd.targets():
            compare(network, target, side)


def compare(network: FoldedLapSRN, target: str, side: str) -> None:
    """The same outputs as in buffers with nothing special about them."""
    plain, levels = winograd.WinogradNetwork(network, target), len(network.levels)
    with mock.patch.object(np, "empty", lambda shape, dtype=float, **_: guarded(side, shape, dtype)):
        careful = winograd.WinogradNetwork(network, target)
        for height, width in [(4, 4), (4, 8), (8, 4), (12, 36), (28, 72), (1, 3), (33, 50)]:
            shape = (1, height + 2 * plain.margin, width + 2 * plain.margin)
            luma = np.random.default_rng(height).random(shape, np.float32)
            tile = guarded(side, shape, np.float32)
            tile[:] = luma
            with mock.patch.object(winograd, "_scratch", threading.local()):
                got = careful(tile, levels)
            for mine, expected in zip(got, plain(luma, levels), strict=True):
                np.testing.assert_array_equal(mine, expected)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
