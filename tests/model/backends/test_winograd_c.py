"""The Winograd backend in C: the network's numbers, the same in any tile, for every target that runs here."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.backends.winograd import winograd
from model.backends.winograd.winograd import TARGETS, WinogradNetwork
from model.checkpoint import load_weights
from model.folded import EagerConv, FoldedLapSRN, centred
from model.network import LapSRN, LapSRNConfig
from tests.model.backends.winograd_library import compiled
from tests.model.networks import SHIPPED, plane, random_network, texture

LEVEL = 1 / 255
Planes = NDArray[np.float32]


@pytest.fixture(scope="module", autouse=True)
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = compiled(tmp_path_factory.mktemp("winograd"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "FOLDER", folder)
        winograd._library.cache_clear()
        winograd.targets.cache_clear()
        yield folder
    winograd._library.cache_clear()
    winograd.targets.cache_clear()


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name not in winograd.targets():
        pytest.skip(f"winograd.c is not compiled for {name}, or this CPU lacks it")
    return name


@pytest.fixture
def ours(target: str) -> WinogradNetwork:
    return WinogradNetwork(centred(random_network(LapSRNConfig()).fold()), target)


def reference(network: LapSRN, tiles: Planes, margin: int) -> list[NDArray[np.float64]]:
    """Every level in float64, of tiles with that margin."""
    extra = margin - network.config.margin
    padded = torch.from_numpy(tiles[:, extra : tiles.shape[1] - extra, extra : tiles.shape[2] - extra]).double()
    with torch.no_grad():
        folded = network.double().fold()
        outputs = folded(padded[:, None])
    network.float()
    return [output[:, 0].numpy() for output in outputs]


def worst(got: list[Planes], wanted: list[NDArray[np.float64]]) -> float:
    for mine, exact in zip(got, wanted, strict=True):
        assert mine.shape == exact.shape
    return max(float(np.abs(mine - exact).max()) for mine, exact in zip(got, wanted, strict=True))


@pytest.mark.parametrize("width", [3, 64])
@pytest.mark.parametrize(("scale", "depth"), [(2, 1), (2, 5), (4, 1), (4, 2), (4, 5), (8, 4), (8, 5), (4, 16)])
def test_the_network_s_numbers(target: str, scale: int, depth: int, width: int) -> None:
    network = random_network(LapSRNConfig(scale=scale, depth=depth, width=width))
    ours = WinogradNetwork(centred(network.fold()), target)
    for height, columns in [(1, 1), (6, 21), (32, 16), (20, 44)]:
        tiles = plane(height + 2 * ours.margin, columns + 2 * ours.margin, seed=height)[None]
        wanted = reference(network, tiles, ours.margin)
        for levels in range(1, network.config.levels + 1):
            assert worst(ours(tiles, levels), wanted[:levels]) < 2e-6


@SHIPPED
def test_shipped_weights_are_exact_to_a_thousandth_of_an_8_bit_level(shipped: Path, target: str) -> None:
    network, _ = load_weights(shipped)
    ours = WinogradNetwork(centred(network.fold()), target)
    tiles = (texture(32 + 2 * ours.margin, 44 + 2 * ours.margin) / 255).astype(np.float32)[None]
    assert worst(ours(tiles, network.config.levels), reference(network, tiles, ours.margin)) < 1e-3 * LEVEL


@pytest.mark.parametrize(("scale", "depth"), [(2, 5), (4, 5), (8, 5), (4, 1), (8, 2)])
def test_a_pixel_is_the_same_in_any_tile(target: str, scale: int, depth: int) -> None:
    network = random_network(LapSRNConfig(scale=scale, depth=depth))
    ours = WinogradNetwork(centred(network.fold()), target)
    margin, levels = ours.margin, network.config.levels
    rows, columns = 18, 24  # in fours
    picture = plane(4 * rows + 2 * margin, 4 * columns + 2 * margin)
    whole = ours(picture[None], levels)
    rng = np.random.default_rng(scale)
    for _ in range(12):
        top, left = int(rng.integers(rows)), int(rng.integers(columns))
        height, width = 4 * int(rng.integers(1, rows - top + 1)), 4 * int(rng.integers(1, columns - left + 1))
        top, left = 4 * top, 4 * left
        window = picture[top : top + height + 2 * margin, left : left + width + 2 * margin]
        asked = int(rng.integers(1, levels + 1))  # fewer levels are the first ones
        for level, (mine, all_of_it) in enumerate(zip(ours(window[None], asked), whole, strict=False), 1):
            expected = all_of_it[0, top << level : (top + height) << level, left << level : (left + width) << level]
            np.testing.assert_array_equal(mine[0], expected)


def test_a_tile_does_not_depend_on_its_batch(ours: WinogradNetwork) -> None:
    tiles = np.stack([plane(24 + 2 * ours.margin, 12 + 2 * ours.margin, seed=i) for i in range(3)])
    together = ours(tiles, 2)
    for i in range(3):
        for alone, level in zip(ours(tiles[i : i + 1], 2), together, strict=True):
            np.testing.assert_array_equal(alone[0], level[i])


@pytest.mark.parametrize(("scale", "depth"), [(2, 3), (4, 5), (8, 2)])
def test_a_flat_picture_gets_no_residual_at_all(target: str, scale: int, depth: int) -> None:
    """Not even a rounding: what comes out is what the same network gives without residuals."""
    folded = random_network(LapSRNConfig(scale=scale, depth=depth)).fold()
    ours, without = WinogradNetwork(centred(folded), target), WinogradNetwork(centred(_mute(folded)), target)
    for value in (0.0, 1 / 3, 200 / 255, 1.0):
        for height, width in [(4, 4), (20, 36), (7, 10)]:
            tiles = np.full((1, height + 2 * ours.margin, width + 2 * ours.margin), value, np.float32)
            levels = folded.levels
            for mine, bare in zip(ours(tiles, len(levels)), without(tiles, len(levels)), strict=True):
                np.testing.assert_array_equal(mine, bare)
                assert np.abs(mine - np.float32(value)).max() < 0.1 / 65535


def _mute(folded: FoldedLapSRN) -> FoldedLapSRN:
    """The same network with residuals that are zero."""

    def zero(level: EagerConv) -> EagerConv:
        return EagerConv(torch.zeros_like(level.weight), None)

    levels = tuple(
        replace(level, residual=zero(level.residual))
        for level in folded.levels
        if isinstance(level.residual, EagerConv)
    )
    return replace(folded, levels=levels)


@pytest.mark.slow
@pytest.mark.parametrize("side", ["before", "behind"])
def test_nothing_outside_its_buffers_is_touched_nor_what_was_in_them_used(side: str, libraries: Path) -> None:
    command = [sys.executable, "-m", "tests.model.backends.guarded_winograd", side, str(libraries)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_many_threads_may_run_one_network(ours: WinogradNetwork) -> None:
    tiles = [plane(20 + 4 * i + 2 * ours.margin, 28 + 2 * ours.margin, seed=i)[None] for i in range(6)]
    alone = [ours(tile, 2) for tile in tiles]
    with ThreadPoolExecutor(4) as pool:
        for got, expected in zip(pool.map(lambda tile: ours(tile, 2), tiles * 4), alone * 4, strict=True):
            for mine, wanted in zip(got, expected, strict=True):
                np.testing.assert_array_equal(mine, wanted)


def test_no_number_of_the_picture_s_stays_behind(ours: WinogradNetwork) -> None:
    """A NaN in one tile is in its own output, and in no later one's."""
    side = 28 + 2 * ours.margin
    good = plane(side, side)[None]
    expected = ours(good, 2)
    assert np.isnan(ours(np.full_like(good, np.nan), 2)[1]).all()
    for got, want in zip(ours(good, 2), expected, strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(("scale", "depth", "margin"), [(2, 1, 2), (2, 5, 10), (4, 5, 16), (8, 5, 18), (4, 10, 30)])
def test_the_margin_is_what_whole_patches_see(target: str, scale: int, depth: int, margin: int) -> None:
    """One for the first layer, two for each of the others, halved and rounded up to patches from level to level."""
    network = LapSRN(LapSRNConfig(scale=scale, depth=depth, width=4))
    assert WinogradNetwork(centred(network.fold()), target).margin == margin


def test_room() -> None:
    assert winograd.fits(LapSRNConfig(scale=8, depth=16, width=64))
    for config in (LapSRNConfig(width=65), LapSRNConfig(depth=17), LapSRNConfig(slope=1.5), LapSRNConfig(slope=-0.1)):
        assert not winograd.fits(config)


def test_the_fastest_that_runs_here_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    if not winograd.available():
        pytest.skip("winograd.c is not compiled for this CPU")
    assert winograd.target() == winograd.targets()[0]
    here = winograd._cpu_features()
    assert set(winograd.targets()) <= {name for name, needed in TARGETS.items() if needed <= here}
    winograd._library.cache_clear()
    winograd.targets.cache_clear()
    monkeypatch.setattr(winograd, "_cpu_features", lambda: set())
    plain = list(TARGETS)[-1]
    assert winograd.targets() == (plain,)
    with pytest.raises(OSError, match=r"winograd\.c for avx2 needs abm, .* which this CPU lacks"):
        WinogradNetwork(centred(LapSRN(LapSRNConfig(width=4)).fold()), "avx2")


def test_where_it_is_not_compiled_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(winograd, "FOLDER", tmp_path)
    winograd._library.cache_clear()
    winograd.targets.cache_clear()
    assert not winograd.available()
    with pytest.raises(OSError, match=r"winograd\.c is not compiled for this CPU"):
        WinogradNetwork(centred(LapSRN(LapSRNConfig(width=4)).fold()))
