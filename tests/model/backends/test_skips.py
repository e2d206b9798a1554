"""Networks with deep first levels and skip connections: who computes them, and whole pictures of them as served."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from app.build import engine_config
from app.engine import Engine
from bench.arithmetic import useful_flops
from model.arithmetic import tile_flops
from model.backends.amx import amx
from model.backends.registry import BACKENDS, by_name, choose
from model.backends.winograd import winograd
from model.evaluate import upscale
from model.network import LapSRNConfig
from tests.fakes import worker
from tests.model.networks import DEEP, DEEP_X8, DEEPER, EXACT, form, plane, random_network, runtime_of

UNEVEN = LapSRNConfig(scale=4, depths=(6, 2))


@pytest.mark.parametrize("config", [DEEP, DEEPER, DEEP_X8, UNEVEN], ids=form)
def test_networks_with_skips_run_on_the_same_backends_as_plain_ones(
    config: LapSRNConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On every machine: whatever of the kernels in C it can run."""
    for row in BACKENDS:
        for dtype in row.dtypes:
            assert row.why_not(config, "cpu", dtype) == row.why_not(LapSRNConfig(), "cpu", dtype), (row.name, dtype)
    monkeypatch.setattr(amx, "missing", lambda: None)
    assert choose(config, "cpu", "bfloat16").backend.name == "amx"
    monkeypatch.setattr(winograd, "_library", lambda target: None)
    assert choose(config, "cpu", "float32").backend.name == "winograd_avx512"


@EXACT
@pytest.mark.parametrize("config", [replace(DEEPER, width=8), replace(DEEP_X8, width=8)], ids=form)
async def test_pictures_of_any_size_equal_the_reference(config: LapSRNConfig, backend: str, dtype: str) -> None:
    """Through the engine, on its tiles: of one pixel, smaller than the margin, odd, cut into several tiles."""
    network = random_network(config)
    runtime = runtime_of(network, dtype, backend)
    tiling = engine_config(by_name(backend).tiling("cpu"))
    async with Engine([worker(lambda: runtime)] * 2, tiling) as alone, Engine([worker(lambda: runtime)], tiling) as one:
        for height, width in [(1, 1), (1, 37), (5, 3), (16, 17), (61, 40), (33, 150)]:
            picture = plane(height, width)
            (levels,) = await alone.upscale([picture], scale=config.scale, client="test")
            with torch.no_grad():
                wanted = upscale(network.fold(), picture)
            assert list(levels) == list(config.scales)
            for level, exact in zip(levels.values(), wanted, strict=True):
                np.testing.assert_allclose(level, exact, rtol=0, atol=2e-6)
            (smaller,) = await one.upscale([picture], scale=2, client="test")  # cut otherwise, with one worker
            if tiling.split_above_idle == tiling.split_above:
                np.testing.assert_allclose(smaller[2], levels[2], rtol=0, atol=2e-6)
            else:
                np.testing.assert_array_equal(smaller[2], levels[2])


def test_operations_are_counted_by_depth_per_level() -> None:
    """Of 13 and 3 convolutions as much as of 5 and 5, as a convolution costs four times as much at x2; of a tile more,
    as margins are wider."""
    deep, plain = DEEP, LapSRNConfig()
    assert 12 + 4 * 2 == 4 + 4 * 4
    assert useful_flops(deep, 1, 1) == useful_flops(plain, 1, 1)
    assert useful_flops(LapSRNConfig(depths=(13, 5)), 1, 1) - useful_flops(deep, 1, 1) == 2 * 4 * 2 * 9 * 64 * 64
    assert tile_flops(deep, 64, 64) > tile_flops(plain, 64, 64) > useful_flops(plain, 64, 64)
