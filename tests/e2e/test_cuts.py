"""Engine and network together: a picture's values, bit for bit, do not depend on its cuts, its company or the load."""

import asyncio
import random
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from app.build import engine_config
from app.engine import Engine, EngineConfig, Plane
from model.backends.registry import BACKENDS, by_name
from model.checkpoint import NetworkInfo, parameters_of
from model.network import LapSRNConfig
from model.runtime import Weights, load
from tests.model.networks import plane, random_network, rows

SIZES = [(3, 40), (10, 13), (64, 64), (70, 33)]
"""Shorter than the network's margin, between that and a window's, one tile, and several."""
COMPUTED_WHOLE = (80, 64)
"""A core that every one of these fits into."""
LARGEST = 50
"""Side of a core that a picture is cut into; larger ones only take longer."""
FREELY_CUT = [row for row in rows(dtypes=["float32", "bfloat16"]) if row.values[0] != BACKENDS[-1].name]
"""Backends that let the engine cut a picture differently when it is alone."""


def engine(weights: list[Weights], backend: str, dtype: str, config: EngineConfig) -> Engine:
    return Engine([partial(load, weights, "cpu", dtype, 1, backend)] * 2, config)


async def upscaled(running: Engine, planes: list[Plane], scale: int, passes: int) -> list[Plane]:
    """Every level of every plane, all of them requested together."""
    requests = (running.upscale([each], scale=scale, client="me", passes=passes) for each in planes)
    return [level for (levels,) in await asyncio.gather(*requests) for level in levels.values()]


@pytest.mark.parametrize(("backend", "dtype"), FREELY_CUT)
@pytest.mark.parametrize(
    ("config", "passes"),
    [
        (LapSRNConfig(scale=2, depth=2, width=8), 1),
        (LapSRNConfig(scale=4, depth=2, width=8), 1),
        (LapSRNConfig(scale=8, depth=2, width=8), 1),
        (LapSRNConfig(scale=4, depth=2, width=8), 2),
        (LapSRNConfig(scale=4, depth=2, width=8), 8),
        (LapSRNConfig(scale=4, depths=(7, 3), width=8, skips=True), 1),
    ],
)
async def test_results_are_bit_identical_wherever_tiles_are_cut(
    backend: str, dtype: str, config: LapSRNConfig, passes: int
) -> None:
    scale = config.scale
    weights = [Weights(parameters_of(random_network(config)), NetworkInfo("random", config, ""))]
    tiling = engine_config(by_name(backend).tiling("cpu"))
    heights, widths = (
        [size for size in sizes if size <= LARGEST]
        for sizes in (tiling.tile_heights or tiling.tile_widths, tiling.tile_widths)
    )
    chosen = SIZES if passes < 8 else SIZES[::3]  # eight times the work, where AMX may be emulated
    planes = [plane(*size, seed=seed) for seed, size in enumerate(chosen)]
    whole = replace(tiling, tile_heights=COMPUTED_WHOLE[:1], tile_widths=COMPUTED_WHOLE[1:], warm_up="nothing")
    async with engine(weights, backend, dtype, whole) as running:
        expected = await upscaled(running, planes, scale, passes)
    chance = random.Random(scale)
    for _ in range(1 if passes > 2 else 2):
        config_of_round = replace(
            tiling,
            tile_heights=tuple(sorted(chance.sample(heights, chance.randint(1, 2)))),
            tile_widths=tuple(sorted(chance.sample(widths, chance.randint(1, 2)))),
            tile_overhead=chance.choice([0.0, 0.5, 3.0]),
            split_above=chance.choice([16, 66]),
            split_above_idle=chance.choice([16, 66]),
            warm_up="nothing",
        )
        async with engine(weights, backend, dtype, config_of_round) as running:
            together = await upscaled(running, planes, scale, passes)
            alone = [level for each in planes for level in await upscaled(running, [each], scale, passes)]
        for found in (together, alone):
            for mine, wanted in zip(found, expected, strict=True):
                np.testing.assert_array_equal(mine, wanted)
