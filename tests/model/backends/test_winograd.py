"""The Winograd backend, beyond what is tested of every backend: every target, random cuts, flat pictures, machines."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model import cpu
from model.backends.registry import BACKENDS
from model.backends.winograd import winograd
from model.backends.winograd.winograd import TARGETS, WinogradNetwork
from model.checkpoint import load_weights
from model.folding import Conv, Folded
from model.network import LapSRN, LapSRNConfig
from tests.model.backends import arm, emulation
from tests.model.networks import DEEP, DEEP_X8, DEEPER, SHIPPED, folded_of, form, plane, random_network, texture

SOURCE = winograd.FOLDER / "winograd.c"
LEVEL = 1 / 255
Planes = NDArray[np.float32]


ALL_EMULATED = bool(os.environ.get("LAPSRN_TEST_EMULATED"))  # read here, as tests themselves see no LAPSRN_*
CHECKED = "checked"
"""winograd.c for this CPU, compiled so that what C leaves undefined ends the process."""


@pytest.fixture(params=[*TARGETS, CHECKED])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    name: str = request.param
    with ExitStack() as stack:
        if name == "neon" and "asimd" not in cpu.features():
            params = request.node.callspec.params
            if not ALL_EMULATED and (
                getattr(params.get("config"), "scale", 2) > 2
                or getattr(params.get("shipped"), "stem", "lapsrn_x4") != "lapsrn_x4"
            ):
                pytest.skip("emulated, all of these take minutes; LAPSRN_TEST_EMULATED=1 runs them")
            if reason := arm.why_not():
                pytest.skip(reason)
            stack.enter_context(arm.emulated())
        elif name == CHECKED:
            stack.enter_context(checked(tmp_path))
        if reason := winograd.lacks(LapSRNConfig(), name):
            pytest.skip(reason)
        yield name


@contextmanager
def checked(folder: Path) -> Iterator[None]:
    try:
        flags = (*emulation.SHARED, *emulation.NATIVE, *emulation.CHECKED)
        library = emulation.built(SOURCE, *flags, depends=sorted(SOURCE.parent.glob("*.h")))
    except OSError as error:
        pytest.skip(f"winograd.c is not compiled with checks: {str(error).splitlines()[-1]}")
    (folder / f"_{CHECKED}.so").symlink_to(library)
    with mock.patch.object(winograd, "FOLDER", folder), mock.patch.dict(TARGETS, {CHECKED: set()}):
        yield


@cache
def exact(shipped: Path, margin: int) -> tuple[Planes, list[NDArray[np.float64]]]:
    """Tiles with that margin, and every level of them in float64."""
    network, _ = load_weights(shipped)
    tiles = (texture(32 + 2 * margin, 44 + 2 * margin) / 255).astype(np.float32)[None]
    extra = margin - network.config.margin
    padded = torch.from_numpy(tiles[:, extra : tiles.shape[1] - extra, extra : tiles.shape[2] - extra]).double()
    with torch.no_grad():
        outputs = network.double().fold()(padded[:, None])
    return tiles, [output[:, 0].numpy() for output in outputs]


def worst(got: list[Planes], wanted: list[NDArray[np.float64]]) -> float:
    for mine, exact in zip(got, wanted, strict=True):
        assert mine.shape == exact.shape
    return max(float(np.abs(mine - exact).max()) for mine, exact in zip(got, wanted, strict=True))


@SHIPPED
def test_shipped_weights_are_exact_to_a_thousandth_of_an_8_bit_level(shipped: Path, target: str) -> None:
    network, _ = load_weights(shipped)
    ours = WinogradNetwork(folded_of(network), target)
    tiles, wanted = exact(shipped, ours.margin)
    assert worst(ours(tiles, network.config.levels), wanted) < 1e-3 * LEVEL


@pytest.mark.parametrize(
    "config",
    [
        LapSRNConfig(scale=2, depth=5),
        LapSRNConfig(scale=4, depth=5),
        LapSRNConfig(scale=8, depth=5),
        LapSRNConfig(scale=4, depth=1),
        LapSRNConfig(scale=8, depth=2),
        LapSRNConfig(scale=2, depth=5, width=8, skips=True),
        replace(DEEPER, width=8),
        LapSRNConfig(scale=4, depths=(32, 1), width=8),
        DEEP_X8,
        LapSRNConfig(scale=4, depths=(1, 5), width=8, skips=True),
        LapSRNConfig(scale=4, depths=(2, 6), width=8),
    ],
    ids=form,
)
def test_a_pixel_is_the_same_in_any_tile_of_whole_patches(target: str, config: LapSRNConfig) -> None:
    network = random_network(config)
    ours = WinogradNetwork(folded_of(network), target)
    margin, levels = ours.margin, network.config.levels
    rows, columns = 18, 24  # in fours
    picture = plane(4 * rows + 2 * margin, 4 * columns + 2 * margin)
    whole = ours(picture[None], levels)
    rng = np.random.default_rng(config.scale)
    for _ in range(5 if target == "neon" else 12):
        top, left = int(rng.integers(rows)), int(rng.integers(columns))
        height, width = 4 * int(rng.integers(1, rows - top + 1)), 4 * int(rng.integers(1, columns - left + 1))
        top, left = 4 * top, 4 * left
        window = picture[top : top + height + 2 * margin, left : left + width + 2 * margin]
        asked = int(rng.integers(1, levels + 1))  # fewer levels are the first ones
        for level, (mine, all_of_it) in enumerate(zip(ours(window[None], asked), whole, strict=False), 1):
            expected = all_of_it[0, top << level : (top + height) << level, left << level : (left + width) << level]
            np.testing.assert_array_equal(mine[0], expected)


@pytest.mark.parametrize(
    "config",
    [
        LapSRNConfig(scale=2, depth=3),
        LapSRNConfig(scale=4, depth=5),
        LapSRNConfig(scale=8, depth=2),
        LapSRNConfig(scale=2, depth=5, skips=True),
        DEEPER,
        replace(DEEP_X8, width=8),
    ],
    ids=form,
)
def test_a_flat_picture_gets_a_residual_of_exactly_zero(target: str, config: LapSRNConfig) -> None:
    """Not even a rounding error: the result equals that of the same network without residuals."""
    folded = folded_of(random_network(config))
    ours, without = WinogradNetwork(folded, target), WinogradNetwork(_mute(folded), target)
    for value in (0.0, 1 / 3, 200 / 255, 1.0):
        for height, width in [(4, 4), (20, 36), (7, 10)]:
            tiles = np.full((1, height + 2 * ours.margin, width + 2 * ours.margin), value, np.float32)
            levels = folded.levels
            for mine, bare in zip(ours(tiles, len(levels)), without(tiles, len(levels)), strict=True):
                np.testing.assert_array_equal(mine, bare)
                assert np.abs(mine - np.float32(value)).max() < 0.1 / 65535


def _mute(network: Folded) -> Folded:
    """The same network with residuals that are zero."""
    nothing = Conv(np.zeros_like(network.levels[0].residual.weight), np.zeros(4))
    return replace(network, levels=tuple(replace(level, residual=nothing) for level in network.levels))


@pytest.mark.parametrize(
    ("config", "margin"),
    [
        (LapSRNConfig(scale=2, depth=1, width=4), 2),
        (LapSRNConfig(scale=2, depth=5, width=4), 10),
        (LapSRNConfig(scale=4, depth=5, width=4), 16),
        (LapSRNConfig(scale=8, depth=5, width=4), 18),
        (LapSRNConfig(scale=4, depth=10, width=4), 30),
        (LapSRNConfig(scale=2, depth=5, width=4, skips=True), 10),
        (replace(DEEP, width=4), 30),
        (replace(DEEPER, width=4), 38),
        (LapSRNConfig(scale=8, depths=(17, 3, 3), width=4, skips=True), 40),
        (replace(DEEP_X8, width=4), 14),
        (LapSRNConfig(scale=4, depths=(3, 15), width=4), 22),
    ],
    ids=lambda value: form(value) if isinstance(value, LapSRNConfig) else str(value),
)
def test_the_margin_covers_whole_patches(target: str, config: LapSRNConfig, margin: int) -> None:
    """One for the first layer, two for each of the others, halved and rounded up to patches from level to level."""
    assert WinogradNetwork(folded_of(LapSRN(config)), target).margin == margin == winograd.margin(config, target)


@pytest.mark.parametrize(
    ("large", "reason"),
    [
        (
            LapSRNConfig(width=65),
            "has room for 64 filters, 3 levels and 32 convolutions a level, and the network has 65,",
        ),
        (LapSRNConfig(depth=33), "and the network has 64, 2 and up to 33"),
        (LapSRNConfig(depths=(3, 33), skips=True), "and the network has 64, 2 and up to 33"),
    ],
)
def test_networks_that_are_too_large_are_refused(target: str, large: LapSRNConfig, reason: str) -> None:
    assert winograd.lacks(LapSRNConfig(scale=8, depth=32), target) is None
    assert reason in str(winograd.lacks(large, target))


@pytest.mark.parametrize("config", [LapSRNConfig(), DEEPER, LapSRNConfig(scale=8, depths=(17, 3, 3))], ids=form)
def test_the_estimated_memory_of_a_network_covers_its_weights(config: LapSRNConfig) -> None:
    row = next(each for each in BACKENDS if each.name.startswith("winograd") and not each.lacks(config))
    weights = WinogradNetwork(folded_of(LapSRN(config)), row.name.removeprefix("winograd_"))._weights
    assert weights._used <= weights._memory.size < row.memory([config], 0) <= 1.5 * weights._memory.size
    assert row.memory([config, LapSRNConfig()], 3) == row.memory([config], 3) + row.memory([LapSRNConfig()], 3)


def test_missing_cpu_features_and_libraries_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = folded_of(LapSRN(LapSRNConfig(width=4)))
    monkeypatch.setattr(winograd, "FOLDER", tmp_path)
    monkeypatch.setattr(cpu, "features", lambda: TARGETS["avx2"])
    winograd._library.cache_clear()
    try:
        assert winograd.lacks(LapSRNConfig(), "neon") == "this CPU lacks asimd"
        for lacking in ("avx512bw", "avx512f"):
            assert lacking in str(winograd.lacks(LapSRNConfig(), "avx512"))
        assert str(winograd.lacks(LapSRNConfig(), "avx2")).startswith("winograd.c is not compiled for avx2, or cannot")
        with pytest.raises(OSError, match=r"winograd\.c is not compiled for avx2"):
            WinogradNetwork(network, "avx2")
    finally:
        winograd._library.cache_clear()


def test_every_target_is_in_the_list_of_backends() -> None:
    names = [each.name.removeprefix("winograd_") for each in BACKENDS if each.name.startswith("winograd")]
    assert names == list(TARGETS)
