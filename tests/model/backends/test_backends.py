"""Every backend in the list against the network as published, in float64: numbers, tiles, batches, memory.

A backend that is not available on a machine is skipped with its own reason.
"""

import copy
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from app.engine import EngineConfig
from model.backends.registry import by_name
from model.network import LapSRN, LapSRNConfig
from tests.model.networks import (
    DEEP,
    DEEP_X8,
    DEEPER,
    SHARED,
    SKIPPING,
    form,
    luma,
    plane,
    random_network,
    rows,
    runtime_at,
    runtime_of,
)

EVERY = pytest.mark.parametrize(("backend", "dtype"), rows(dtypes=["float32", "bfloat16", "float16"]))
NETWORKS = [
    LapSRNConfig(scale=2, depth=1, width=64),
    LapSRNConfig(scale=2, depth=5, width=16),
    LapSRNConfig(scale=4, depth=1, width=3),
    LapSRNConfig(scale=4, depth=2, width=64),
    LapSRNConfig(scale=4, depth=5, width=64),
    LapSRNConfig(scale=4, depth=10, width=16),
    LapSRNConfig(scale=4, depth=16, width=3),
    LapSRNConfig(scale=8, depth=1, width=16),
    LapSRNConfig(scale=8, depth=4, width=64),
    LapSRNConfig(scale=8, depth=5, width=3),
    DEEPER,
    LapSRNConfig(scale=2, depth=31, width=16, skips=True),
    LapSRNConfig(scale=4, depths=(1, 15), width=3, skips=True),
    LapSRNConfig(scale=4, depths=(2, 6), width=16),
    replace(DEEP_X8, width=16),
]
BATCHES = [(1, 1, 1), (2, 1, 7), (1, 6, 21), (3, 13, 5), (1, 40, 17), (2, 17, 64)]
"""(tiles, height, width) of cores: the smallest, wide and tall, odd and even."""
LARGE_PIXELS = 1000
"""Larger batches run on narrow networks only: most machines emulate reduced precision, which is slow."""
WINDOWS = [(0, 0, 1, 1), (13, 8, 7, 33), (63, 79, 1, 1), (5, 41, 56, 34), (30, 3, 16, 18)]
"""(top, left, height, width) in a picture of 64x80: at its corners and borders and inside it."""


@cache
def network_of(config: LapSRNConfig) -> LapSRN:
    return random_network(config)


@cache
def tiles_of(
    config: LapSRNConfig, count: int, height: int, width: int, window_margin: int | None = None
) -> NDArray[np.float32]:
    """Noise with the network's margin, and more round it up to that of a backend's windows."""
    margin = config.margin
    tiles = luma(count, height + 2 * margin, width + 2 * margin, seed=height).numpy()
    beyond = (window_margin or margin) - margin
    return np.pad(tiles, [(0, 0), (beyond, beyond), (beyond, beyond)], mode="edge")


@cache
@torch.no_grad()
def exact(config: LapSRNConfig, count: int, height: int, width: int) -> list[NDArray[np.float64]]:
    """The reference: the network layer for layer as published, in float64."""
    network = copy.deepcopy(network_of(config)).double()
    padded = torch.from_numpy(tiles_of(config, count, height, width)).double()[:, None]
    return [level[:, 0].numpy() for level in network(padded)]


def assert_close(got: NDArray[np.float32], want: NDArray[np.float64] | NDArray[np.float32], dtype: str) -> None:
    """In float32, every pixel within 2e-6 of the largest value; in reduced precision, a root mean square error of at
    most 4% of the standard deviation, plus 0.001."""
    assert got.dtype == np.float32
    assert got.shape == want.shape
    error = got.astype(np.float64) - want
    if dtype == "float32":
        assert np.abs(error).max() <= 2e-6 * max(1.0, np.abs(want).max())
    else:
        assert np.sqrt(np.mean(error**2)) < 0.04 * want.std() + 1e-3


@EVERY
@pytest.mark.parametrize("config", NETWORKS, ids=form)
def test_every_level_equals_the_network_in_float64(config: LapSRNConfig, backend: str, dtype: str) -> None:
    """At every level; requesting fewer levels gives the same numbers."""
    runtime = runtime_of(network_of(config), dtype, backend)
    for count, height, width in BATCHES:
        if count * height * width > LARGE_PIXELS and config.width > 16:
            continue
        wanted = dict(zip(config.scales, exact(config, count, height, width), strict=True))
        tiles = tiles_of(config, count, height, width, runtime.info.window_margin)
        whole = runtime.run(tiles, config.scale)
        assert list(whole) == list(config.scales)
        for scale, level in whole.items():
            assert_close(level, wanted[scale], dtype)
        for scale in config.scales[:-1]:
            fewer = runtime.run(tiles, scale)
            assert list(fewer) == [each for each in config.scales if each <= scale]
            for each, level in fewer.items():
                np.testing.assert_array_equal(level, whole[each])


@EVERY
@pytest.mark.parametrize(
    "config", [LapSRNConfig(scale=2), LapSRNConfig(scale=4), LapSRNConfig(scale=8), DEEP, DEEP_X8], ids=form
)
def test_a_pixel_is_the_same_in_any_tile(config: LapSRNConfig, backend: str, dtype: str) -> None:
    """Bit for bit where the tiling lets the engine cut a picture differently under load, wherever it can cut."""
    if backend == "torch" and dtype != "float32":
        config = replace(config, width=16)  # CPUs emulate it, which is slow
    tiling = by_name(backend).tiling("cpu")
    to_the_bit = tiling.split_above_idle != EngineConfig().split_above
    rows, columns = math.gcd(*(tiling.tile_heights or tiling.tile_widths)), math.gcd(*tiling.tile_widths)
    runtime = runtime_of(network_of(config), dtype, backend)
    margin = runtime.info.window_margin
    picture = plane(64 + 2 * margin, 80 + 2 * margin)
    whole = runtime.run(picture[None], config.scale)
    for place in WINDOWS:
        if to_the_bit:
            top, bottom = place[0] // rows * rows, -(-(place[0] + place[2]) // rows) * rows
            left, right = place[1] // columns * columns, -(-(place[1] + place[3]) // columns) * columns
            height, width = bottom - top, right - left
        else:
            top, left, height, width = place
        window = picture[top : top + height + 2 * margin, left : left + width + 2 * margin]
        for level, core in runtime.run(window[None].copy(), config.scale).items():
            expected = whole[level][:, top * level : (top + height) * level, left * level : (left + width) * level]
            if to_the_bit:
                np.testing.assert_array_equal(core, expected)
            else:
                assert_close(core, expected, dtype)


@EVERY
@pytest.mark.parametrize(("filters", "height", "width"), [(8, 5, 8), (8, 31, 17), (64, 1, 1), (64, 5, 8), (64, 16, 16)])
def test_a_tile_does_not_depend_on_its_batch(filters: int, height: int, width: int, backend: str, dtype: str) -> None:
    """Bit for bit: alone, twice, after noise, after NaN."""
    if dtype != "float32" and filters * height > 64:
        filters = 8  # emulated on most machines, and slow
    config = LapSRNConfig(width=filters)
    runtime = runtime_of(network_of(config), dtype, backend)
    side = 2 * runtime.info.window_margin
    tile = luma(1, height + side, width + side).numpy()
    noise = luma(4, height + side, width + side, seed=1).numpy()
    alone = runtime.run(tile, 4)
    neighbours = {
        "twice": np.concatenate([tile, tile]),
        "after noise": np.concatenate([noise, tile]),
        "after NaN": np.concatenate([np.full_like(tile, np.nan), tile]),
    }
    for name, batch in neighbours.items():
        for scale, output in runtime.run(batch, 4).items():
            np.testing.assert_array_equal(output[-1], alone[scale][0], err_msg=name)


@EVERY
@pytest.mark.parametrize("config", [LapSRNConfig(width=16), replace(SKIPPING, width=16)], ids=form)
def test_values_of_one_tile_do_not_leak_into_others(config: LapSRNConfig, backend: str, dtype: str) -> None:
    """A NaN in one tile is in its own output, and in no later one's."""
    runtime = runtime_of(network_of(config), dtype, backend)
    side = 30 + 2 * runtime.info.window_margin
    good = plane(side, side)[None]
    expected = runtime.run(good, 4)
    assert np.isnan(runtime.run(np.full_like(good, np.nan), 4)[4]).all()
    for scale, level in runtime.run(good, 4).items():
        np.testing.assert_array_equal(level, expected[scale])


@SHARED
def test_several_threads_can_run_one_network(weights: Path, backend: str, dtype: str) -> None:
    runtime = runtime_at(weights, dtype, backend)
    tiles = [plane(40 + i, 50, seed=i)[None] for i in range(6)]
    alone = [runtime.run(tile, 4)[4] for tile in tiles]
    with ThreadPoolExecutor(4) as pool:
        for got, expected in zip(pool.map(lambda tile: runtime.run(tile, 4)[4], tiles * 3), alone * 3, strict=True):
            np.testing.assert_array_equal(got, expected)


@EVERY
def test_backends_stay_within_their_buffers_and_use_no_uninitialised_memory(backend: str, dtype: str) -> None:
    if dtype != by_name(backend).dtypes[0]:
        pytest.skip("the buffers are the same in every dtype")
    command = [sys.executable, "-m", "tests.model.backends.guarded_run", backend, dtype]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
