"""Flat in, flat out: a flat picture of any level keeps it, whatever the weights, in float32 and in bfloat16."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.checkpoint import load_weights
from model.color import luma_from_gray
from model.folded import EagerConv, centred, drop_centre, one_period
from model.network import LapSRNConfig, zero_mean
from model.runtime import Runtime
from tests.model.networks import DEEP, DEEP_X8, SERVED, SHIPPED, form, random_network, runtime_of

EVERY_8_BIT = np.arange(256) / 255
EVERY_FIFTH = EVERY_8_BIT[::5]
SOME_16_BIT = np.array([*range(0, 65536, 1021), 1, 2, 255, 256, 32767, 32768, 65534, 65535]) / 65535


def flat_tiles(levels: NDArray[np.float64], margin: int, height: int, width: int) -> NDArray[np.float32]:
    shape = (len(levels), height + 2 * margin, width + 2 * margin)
    return np.broadcast_to(levels[:, None, None], shape).astype(np.float32)


def assert_flat(runtime: Runtime, levels: NDArray[np.float64], core: tuple[int, int], peak: int) -> None:
    outputs = runtime.run(flat_tiles(levels, runtime.info.window_margin, *core), runtime.info.scales[-1])
    codes = np.rint(levels * peak)
    for scale, output in outputs.items():
        assert output.shape == (len(levels), core[0] * scale, core[1] * scale)
        got = np.rint(output.astype(np.float64) * peak)
        np.testing.assert_array_equal(got, np.broadcast_to(codes[:, None, None], got.shape))


@SERVED
def test_flat_pictures_keep_every_8_bit_level(backend: str, dtype: str) -> None:
    assert_flat(runtime_of(random_network(LapSRNConfig(width=8)), dtype, backend), EVERY_8_BIT, (1, 2), 255)


@SERVED
@pytest.mark.parametrize(
    ("levels", "peak"), [(EVERY_FIFTH, 255), (SOME_16_BIT, 65535)], ids=["8-bit levels", "16-bit levels"]
)
@pytest.mark.parametrize(
    "config",
    [
        LapSRNConfig(scale=4, depth=5, width=8),
        LapSRNConfig(scale=4, depth=10, width=4),
        LapSRNConfig(scale=8, depth=1, width=8),
        LapSRNConfig(scale=2, depth=5, width=8),
        replace(DEEP, width=8),
        replace(DEEP_X8, width=4),
        LapSRNConfig(scale=4, depths=(2, 4), width=8),
    ],
    ids=form,
)
def test_flat_pictures_keep_their_level_in_any_network(
    config: LapSRNConfig, levels: NDArray[np.float64], peak: int, backend: str, dtype: str
) -> None:
    network = random_network(config, seed=config.depth)
    assert_flat(runtime_of(network, dtype, backend), levels, (1, 2), peak)


@SERVED
@pytest.mark.parametrize("core", [(1, 1), (13, 10), (32, 7)])
@pytest.mark.parametrize("config", [LapSRNConfig(), DEEP], ids=form)
def test_flat_tiles_of_any_shape_keep_their_level_at_full_width(
    config: LapSRNConfig, core: tuple[int, int], backend: str, dtype: str
) -> None:
    """The flat response comes from a patch of its own size, and must be the same in tiles of any other."""
    runtime = runtime_of(random_network(config), dtype, backend)
    assert_flat(runtime, np.array([0, 77, 255]) / 255, core, 255)
    assert_flat(runtime, np.array([1, 30001]) / 65535, core, 65535)


def test_the_residual_of_a_flat_picture_is_large_before_it_is_subtracted() -> None:
    """Otherwise the tests above would prove nothing."""
    folded = random_network(LapSRNConfig(width=8)).fold()
    with torch.no_grad():
        side = 2 * folded.margin + 1
        flats = one_period(folded.residuals(torch.zeros(1, 1, side, side)))
    assert [tuple(flat.shape) for flat in flats] == [(1, 4, 1, 1), (1, 4, 2, 2)]
    assert min(flat.abs().max().item() for flat in flats) > 1 / 255
    assert flats[1].std() > 1e-3  # it is a pattern, not one number


@SHIPPED
@SERVED
def test_shipped_weights_keep_flat_pictures(shipped: Path, backend: str, dtype: str) -> None:
    """Of the lumas that 8-bit grays have, after rounding to 16 bits."""
    network, _ = load_weights(shipped)
    lumas = luma_from_gray(np.array([0, 1, 128, 254, 255]) / 255)
    runtime = runtime_of(network, dtype, backend)
    for output in runtime.run(flat_tiles(lumas, runtime.info.window_margin, 9, 6), runtime.info.scales[-1]).values():
        error = np.abs(output - lumas[:, None, None].astype(np.float32))
        assert error.max() < 0.5 / 65535


@SHIPPED
def test_shipped_weights_satisfy_the_constraints(shipped: Path) -> None:
    network, _ = load_weights(shipped)
    folded = network.fold()
    assert isinstance(folded.entry, EagerConv)
    first = dict(network.named_parameters())["levels.0.convs.0.weight"]
    assert torch.equal(folded.entry.weight, drop_centre(zero_mean(first)))
    for level in folded.levels:
        assert isinstance(level.image, EagerConv)
        assert torch.allclose(level.image.weight.sum(dim=(1, 2, 3)), torch.ones(4), atol=1e-6)


def test_centred_residuals_are_the_same_function(tmp_path: Path) -> None:
    network = random_network(LapSRNConfig(scale=4, depth=3, width=8)).double()
    with torch.no_grad():
        for level in network.levels:
            level.residual.bias.add_(3.0)  # type: ignore[union-attr]
        folded = network.fold()
        moved = centred(folded)
        padded = torch.rand(1, 1, 12 + 2 * folded.margin, 12 + 2 * folded.margin, dtype=torch.float64)
        for before, after in zip(folded(padded), moved(padded), strict=True):
            torch.testing.assert_close(after, before, rtol=0, atol=1e-12)
        zeros = torch.zeros(1, 1, 2 * folded.margin + 1, 2 * folded.margin + 1, dtype=torch.float64)
        for residual, was in zip(one_period(moved.residuals(zeros)), one_period(folded.residuals(zeros)), strict=True):
            assert abs(residual.mean().item()) < 1e-12 < 1.0 < abs(was.mean().item())
