"""Several networks on one worker: the right one for a scale or a name, batches of their own, one warm-up each."""

import asyncio

import numpy as np
import pytest

from app.engine import Engine, EngineConfig
from app.errors import BadParameter, StartupError
from tests.engine.conftest import Start
from tests.engine.fakes import FakeModel, Tiles, expected, picture
from tests.fakes import worker


def named(name: str, scales: tuple[int, ...], margin: int) -> FakeModel:
    return FakeModel(name=name, scales=scales, margin=margin)


@pytest.fixture
def models() -> tuple[FakeModel, FakeModel, FakeModel]:
    """A worker's x4, its x8 and another x4, each with a margin of its own."""
    return named("x4", (2, 4), 3), named("x8", (2, 4, 8), 5), named("x4_other", (2, 4), 1)


@pytest.mark.parametrize(
    ("scale", "network", "margin", "levels"),
    [
        (2, None, 3, [2]),
        (4, None, 3, [2, 4]),
        (8, None, 5, [2, 4, 8]),
        (4, "x8", 5, [2, 4]),
        (4, "x4_other", 1, [2, 4]),
        (4, "x4", 3, [2, 4]),
    ],
)
async def test_the_network_is_the_named_one_or_else_the_first_with_the_scale(
    start: Start, models: list[FakeModel], scale: int, network: str | None, margin: int, levels: list[int]
) -> None:
    engine = await start(models)
    plane = picture(13, 21)
    (outputs,) = await engine.upscale([plane], scale=scale, client="me", network=network)
    assert sorted(outputs) == levels
    for level, whole in expected(plane, scale, margin).items():
        np.testing.assert_array_equal(outputs[level], whole)
    assert engine.scales == (2, 4, 8)


@pytest.mark.parametrize(
    ("scale", "network", "complaint"),
    [
        (4, "x16", "there is no model 'x16' here; there are x4, x8, x4_other"),
        (8, "x4", "scale 8 of x4 is not available; allowed: 2, 4"),
        (3, None, "scale 3 is not available; allowed: 2, 4, 8"),
    ],
)
async def test_unknown_networks_and_scales_are_refused_with_the_allowed_ones(
    start: Start, models: list[FakeModel], scale: int, network: str | None, complaint: str
) -> None:
    engine = await start(models)
    with pytest.raises(BadParameter, match=complaint):
        await engine.upscale([picture(4, 4)], scale=scale, client="me", network=network)
    with pytest.raises(BadParameter, match=complaint):
        engine.choose(scale, network)


async def test_a_batch_holds_tiles_of_one_network_only(start: Start, models: list[FakeModel]) -> None:
    """Many requests of both at once: each batch has the window size of one margin, and every picture is right."""
    engine = await start(models)
    planes = [picture(9, 14, seed) for seed in range(12)]
    names = ["x4", "x4_other"]
    found = await asyncio.gather(
        *(
            engine.upscale([plane], scale=4, client=str(index), network=names[index % 2])
            for index, plane in enumerate(planes)
        )
    )
    for index, (outputs,) in enumerate(found):
        np.testing.assert_array_equal(outputs[4], expected(planes[index], 4, (3, 1)[index % 2])[4])
    assert {shape[1] for shape, _, _ in models[0].calls} == {10, 14}
    assert {shape[1] for shape, _, _ in models[2].calls} == {6, 10}
    assert not models[1].calls


async def test_each_network_is_warmed_up_on_its_own_core_sizes(start: Start, models: list[FakeModel]) -> None:
    """At x8 no core gives more output pixels than the largest does at x4."""
    await start(models, warm_up="tiles")
    assert models[0].warmed == models[2].warmed == [(1, 4, 4), (1, 8, 8)]
    assert models[1].warmed == [(1, 4, 4)]
    assert EngineConfig(tile_widths=(32, 48, 64, 108)).tile_sizes(8) == ((32, 48), (32, 48))
    assert EngineConfig(tile_widths=(32,)).tile_sizes(8) == ((32,), (32,))


def test_cores_are_taller_for_networks_with_wide_margins() -> None:
    """Sixteen margins at most, and at x8 no more output pixels than the highest gives at x4."""
    config = EngineConfig(tile_widths=(32, 64), tile_heights=(64, 128), tall_heights=(192, 256))
    assert config.tile_sizes(4) == config.tile_sizes(4, 11) == ((64, 128), (32, 64))
    assert config.tile_sizes(4, 12) == ((64, 128, 192), (32, 64))
    assert config.tile_sizes(4, 40) == ((64, 128, 192, 256), (32, 64))
    assert config.tile_sizes(8, 40) == ((64, 128), (32,))


async def test_warm_up_smallest_runs_one_tile_of_the_first_network_only(start: Start, models: list[FakeModel]) -> None:
    """Starting must not take longer for every network that a request may never ask for."""
    await start(models, warm_up="smallest")
    assert models[0].warmed == [(1, 4, 4)]
    assert not models[1].warmed and not models[2].warmed


async def test_a_tile_is_recomputed_in_full_precision_by_the_same_network(
    start: Start, models: list[FakeModel]
) -> None:
    def spoil(cores: dict[int, Tiles], tiles: Tiles, full_precision: bool) -> dict[int, Tiles]:
        return cores if full_precision else {level: core * np.float32(np.nan) for level, core in cores.items()}

    models[2].after = spoil
    engine = await start(models)
    plane = picture(6, 6)
    (outputs,) = await engine.upscale([plane], scale=4, client="me", network="x4_other")
    np.testing.assert_array_equal(outputs[4], expected(plane, 4, 1)[4])


async def test_workers_with_other_networks_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    def second() -> list[FakeModel]:
        return [named("x4", (2, 4), 3), named("x8", (2, 4, 8), 6)]

    factories = [worker(second), worker(lambda: named("x4", (2, 4), 3))]
    engine = Engine(factories, EngineConfig(restart_seconds=60, restart_max_seconds=60))
    await engine.start()
    assert sorted(worker.state for worker in engine.status().workers) == ["down", "up"]
    (error,) = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert isinstance(error, StartupError)
    assert "x8" in str(error)
    assert "margin 6" in str(error)
    assert "missing" in str(error)
    await engine.stop(0)
