"""The Winograd backend gives the torch backend's numbers, whatever the tile and the batch."""

from pathlib import Path

import numpy as np
import pytest
import torch

from model.network import LapSRN, LapSRNConfig
from model.runtime import Runtime

pytest.importorskip("ncnn", reason="the Winograd backend needs ncnn")


@pytest.fixture(scope="module", params=[(4, 5), (2, 3), (8, 1)], ids=lambda p: f"x{p[0]}-depth{p[1]}")
def pair(request: pytest.FixtureRequest) -> tuple[Runtime, Runtime]:
    scale, depth = request.param
    torch.manual_seed(7)
    network = LapSRN(LapSRNConfig(scale=scale, depth=depth, width=16))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    return Runtime(network, "n", "cpu", "float32", "torch"), Runtime(network, "n", "cpu", "float32", "winograd")


@pytest.mark.parametrize("core", [(1, 1), (1, 7), (13, 5), (32, 32), (33, 64)])
def test_same_numbers_as_torch(pair: tuple[Runtime, Runtime], core: tuple[int, int]) -> None:
    plain, winograd = pair
    margin = plain.margin
    tiles = np.random.default_rng(1).random((2, core[0] + 2 * margin, core[1] + 2 * margin), np.float32)
    expected, got = plain.run(tiles, plain.scales[-1]), winograd.run(tiles, plain.scales[-1])
    assert expected.keys() == got.keys()
    for scale in expected:
        assert got[scale].shape == (2, core[0] * scale, core[1] * scale)
        np.testing.assert_allclose(got[scale], expected[scale], rtol=0, atol=2e-6)


def test_a_tile_does_not_depend_on_its_batch(pair: tuple[Runtime, Runtime]) -> None:
    winograd = pair[1]
    side = 32 + 2 * winograd.margin
    tiles = np.random.default_rng(2).random((3, side, side), np.float32)
    together = winograd.run(tiles, winograd.scales[-1])
    for i in range(3):
        alone = winograd.run(tiles[i : i + 1].copy(), winograd.scales[-1])
        for scale in alone:
            np.testing.assert_array_equal(alone[scale][0], together[scale][i])


def test_lower_scale_runs_fewer_levels_and_gives_the_same(pair: tuple[Runtime, Runtime]) -> None:
    winograd = pair[1]
    side = 16 + 2 * winograd.margin
    tiles = np.random.default_rng(3).random((1, side, side), np.float32)
    lower = winograd.run(tiles, 2)
    assert list(lower) == [2]
    np.testing.assert_array_equal(lower[2], winograd.run(tiles, winograd.scales[-1])[2])


@pytest.mark.parametrize("code", [0, 1, 127, 200, 255])
def test_flat_stays_flat_at_16_bits(pair: tuple[Runtime, Runtime], code: int) -> None:
    winograd = pair[1]
    side = 40 + 2 * winograd.margin
    value = np.float32(code / 255)
    for plane in winograd.run(np.full((1, side, side), value, np.float32), winograd.scales[-1]).values():
        assert np.abs(plane.astype(np.float64) - value).max() < 0.4 / 65535


def test_shipped_weights_agree() -> None:
    from model.runtime import load

    path = Path(__file__).parents[2] / "weights" / "lapsrn_x4.safetensors"
    if not path.exists():
        pytest.skip("no weights in weights/")
    tiles = np.random.default_rng(4).random((1, 66, 66), np.float32)
    plain, winograd = load(path, "cpu", "float32", backend="torch"), load(path, "cpu", "float32", backend="winograd")
    for scale, plane in plain.run(tiles, 4).items():
        np.testing.assert_allclose(winograd.run(tiles, 4)[scale], plane, rtol=0, atol=5e-6)
