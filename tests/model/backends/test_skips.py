"""Networks with deep first levels and skip connections are served, by a backend that has them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.arithmetic import tile_flops, useful_flops
from model.backends.registry import BACKENDS, choose
from model.network import LapSRNConfig
from tests.model.networks import SKIPPING, luma, random_network, runtime_of

UNEVEN = LapSRNConfig(scale=4, depths=(6, 2), width=8)


@pytest.mark.parametrize("config", [SKIPPING, UNEVEN], ids=["with skips", "of two depths"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_choice_is_a_backend_that_can_compute_them(config: LapSRNConfig, dtype: str) -> None:
    able = [each.name for each in BACKENDS if each.why_not(config, "cpu", dtype) is None]
    assert choose(config, "cpu", dtype).backend.name == able[0] == "torch"


@pytest.mark.parametrize("config", [replace(SKIPPING, width=8), UNEVEN], ids=["with skips", "of two depths"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-5), ("bfloat16", 0.1)])
def test_they_are_served_as_they_were_trained(config: LapSRNConfig, dtype: str, tolerance: float) -> None:
    network = random_network(config)
    margin = config.margin
    tiles = luma(2, 12 + 2 * margin, 15 + 2 * margin).numpy()
    found = runtime_of(network, dtype).run(tiles, 4)
    with torch.no_grad():
        expected = network.double()(torch.from_numpy(tiles).double()[:, None])
    for level, wanted in zip(found.values(), expected, strict=True):
        assert np.abs(level - wanted[:, 0].numpy()).max() < tolerance * float(wanted.abs().max())
    flat = np.full((1, 2 * margin + 4, 2 * margin + 4), 30001 / 65535, np.float32)
    for level in runtime_of(random_network(config), dtype).run(flat, 4).values():
        np.testing.assert_array_equal(np.rint(level.astype(np.float64) * 65535), 30001)


def test_their_arithmetic_is_that_of_their_levels() -> None:
    """Of 13 and 3 convolutions at width 64, less than of 5 and 5: a convolution costs four times as much at x2."""
    deep, plain = LapSRNConfig(depths=(13, 3), skips=True), LapSRNConfig()
    ratio = useful_flops(deep, 1, 1) / useful_flops(plain, 1, 1)
    per_conv = 64 * 64 * 9
    saved = (4 + 4 * 4) - (12 + 4 * 2)
    assert ratio == pytest.approx(1 - saved * per_conv * 2 / useful_flops(plain, 1, 1))
    assert tile_flops(deep, 64, 64) > useful_flops(deep, 64, 64)
