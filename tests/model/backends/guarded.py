"""Runs amx.c with every buffer full of NaN and right at a page that nobody may touch; exits 0 if all is well.

    python -m tests.model.backends.guarded before|behind SCALE DEPTH

For a process of its own: what reaches outside a buffer ends it.
"""

import sys
from unittest import mock

import numpy as np

from model.backends.amx import amx
from model.folded import centred
from model.network import LapSRNConfig
from tests.guarded import guarded
from tests.model.networks import random_network


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
