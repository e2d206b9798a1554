"""What a failing network does to requests: as little as possible, and never silently."""

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from app.engine import Engine, EngineConfig, Plane
from app.engine.batch import BatchLimit
from app.engine.tiles import Shape
from app.errors import InferenceFailed
from tests.engine.conftest import ZERO, Start, counters
from tests.engine.fakes import FakeModel, Gate, Tiles, expected, picture

POISON = 1000.0


def poisoned(height: int, width: int, row: int, column: int) -> Plane:
    plane = picture(height, width)
    plane[row, column] = POISON
    return plane


def fail_on_poison(tiles: Tiles, scale: int, full_precision: bool) -> None:
    if (tiles == POISON).any():
        raise ValueError("cannot digest this")


class Held:
    """Queues several requests of one tile while the worker is busy, so that they come as one batch."""

    def __init__(self, before: Callable[[Tiles, int, bool], None]) -> None:
        self.gate = Gate()
        self.before = before
        self.first = True

    def __call__(self, tiles: Tiles, scale: int, full_precision: bool) -> None:
        if self.first:
            self.first = False
            self.gate(tiles, scale, full_precision)
        else:
            self.before(tiles, scale, full_precision)

    async def upscale(self, engine: Engine, planes: list[Plane]) -> list[list[dict[int, Plane]] | BaseException]:
        blocker = asyncio.create_task(engine.upscale([picture(8, 8)], scale=4, client="blocker"))
        await asyncio.to_thread(self.gate.wait_entered)
        tasks = [
            asyncio.create_task(engine.upscale([plane], scale=4, client=f"client {index}"))
            for index, plane in enumerate(planes)
        ]
        await asyncio.sleep(0)
        assert engine.status().queue_tiles == len(planes)
        self.gate.open()
        await blocker
        return await asyncio.gather(*tasks, return_exceptions=True)


WIDE = {"tile_widths": (8,), "max_batch_pixels": 16 * 64}


async def test_a_failing_tile_fails_its_own_request_and_no_other_in_its_batch(start: Start) -> None:
    held = Held(fail_on_poison)
    model = FakeModel(held)
    engine = await start(model, **WIDE)
    planes = [picture(8, 8, seed=index) for index in range(8)]
    planes[5] = poisoned(8, 8, 4, 4)
    results = await held.upscale(engine, planes)
    for index, result in enumerate(results):
        if index == 5:
            assert isinstance(result, InferenceFailed)
            assert isinstance(result.__cause__, ValueError)
        else:
            assert isinstance(result, list)
            np.testing.assert_array_equal(result[0][4], expected(planes[index], 4)[4])
    sizes = [shape[0] for shape, _, _ in model.calls[1:]]
    assert sizes == [8, 4, 4, 2, 1, 1, 1, 1, 2], "halves; the poisoned one again and a gray one to blame it; the rest"
    assert engine.status().workers[0].restarts == 0
    assert counters(engine) == ZERO


async def test_a_tile_that_fails_once_is_retried(start: Start) -> None:
    failures = [RuntimeError("a hiccup")]

    def hiccup(tiles: Tiles, scale: int, full_precision: bool) -> None:
        if failures:
            raise failures.pop()

    model = FakeModel(hiccup)
    engine = await start(model)
    outputs = await engine.upscale([picture(8, 8)], scale=4, client="me")
    np.testing.assert_array_equal(outputs[0][4], expected(picture(8, 8), 4)[4])
    assert len(model.calls) == 2


async def test_the_other_tiles_of_a_failed_request_are_not_computed(start: Start) -> None:
    model = FakeModel(fail_on_poison)
    engine = await start(model, tile_widths=(8,))
    with pytest.raises(InferenceFailed):
        await engine.upscale([poisoned(8, 800, 0, 0)], scale=4, client="me")
    assert counters(engine)[1] == 0
    assert len(model.calls) == 3, "twice the tile, once gray"


async def test_a_split_batch_is_not_continued_for_a_client_that_disconnected(start: Start) -> None:
    gate = Gate()

    def fail_together(tiles: Tiles, scale: int, full_precision: bool) -> None:
        gate()
        if len(tiles) > 1:
            raise RuntimeError("one by one, please")

    model = FakeModel(fail_together)
    engine = await start(model, tile_widths=(8,), max_batch_pixels=4 * 64)
    leaving = asyncio.create_task(engine.upscale([picture(8, 32)], scale=4, client="me"))
    await asyncio.to_thread(gate.wait_entered)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    gate.open()
    await engine.stop(1)
    assert [shape[0] for shape, _, _ in model.calls] == [4]
    assert counters(engine) == ZERO


async def test_out_of_memory_halves_the_batch_limit(start: Start) -> None:
    def small_device(tiles: Tiles, scale: int, full_precision: bool) -> None:
        if len(tiles) > 2:
            raise MemoryError("2 tiles fit")

    model = FakeModel(small_device)
    engine = await start(model, **WIDE)
    planes = [picture(8, 128), picture(8, 128, seed=1)]
    for plane in planes:
        outputs = await engine.upscale([plane], scale=4, client="me")
        np.testing.assert_array_equal(outputs[0][4], expected(plane, 4)[4])
    sizes = [shape[0] for shape, _, _ in model.calls]
    assert sizes == [16, 8, 4, *[2] * 8, *[2] * 8]
    assert counters(engine) == ZERO


async def test_the_batch_limit_grows_again_once_memory_suffices(start: Start) -> None:
    short = [MemoryError()]

    def once(tiles: Tiles, scale: int, full_precision: bool) -> None:
        if short and len(tiles) > 1:
            raise short.pop()

    model = FakeModel(once)
    engine = await start(model, tile_widths=(8,), max_batch_pixels=4 * 64, memory_recovery_batches=4)
    await engine.upscale([picture(8, 8 * 16)], scale=4, client="me")
    sizes = [shape[0] for shape, _, _ in model.calls]
    assert sizes == [4, 2, 2, 2, 2, 4, 4]


def test_a_batch_limit_doubles_up_to_its_maximum_and_counts_from_the_last_failure() -> None:
    limit, pixel = (
        BatchLimit(EngineConfig(max_batch_tiles=1000, max_batch_pixels=100, memory_recovery_batches=2)),
        Shape(1, 1, 2),
    )
    limit.halve(pixel, 60)
    limit.succeeded()
    limit.halve(pixel, 20)
    limits = []
    for _ in range(10):
        limits.append(limit(pixel))
        limit.succeeded()
    assert limits == [10, 10, 20, 20, 40, 40, 80, 80, 100, 100]


async def test_a_request_fails_if_memory_does_not_suffice_for_a_single_tile(start: Start) -> None:
    def none(tiles: Tiles, scale: int, full_precision: bool) -> None:
        raise MemoryError("nothing left")

    engine = await start(FakeModel(none))
    with pytest.raises(InferenceFailed):
        await engine.upscale([picture(8, 8)], scale=4, client="me")
    assert engine.status().workers[0].restarts == 0
    assert counters(engine) == ZERO


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("level", [2, 4])
async def test_a_tile_with_values_that_are_not_finite_is_recomputed_in_full_precision(
    start: Start, value: float, level: int
) -> None:
    def overflow(cores: dict[int, Tiles], tiles: Tiles, full_precision: bool) -> dict[int, Tiles]:
        for index in np.flatnonzero((tiles[:, 3, 3] > 25) & (not full_precision)):
            cores[level][index, -1, -1] = value
        return cores

    model = FakeModel(after=overflow)
    engine = await start(model, **WIDE)
    plane = picture(8, 128)
    outputs = await engine.upscale([plane], scale=4, client="me")
    for each in (2, 4):
        np.testing.assert_array_equal(outputs[0][each], expected(plane, 4)[each])
    dark = int((plane[0, ::8] > 25).sum())
    assert 0 < dark < 16
    assert [(shape[0], full) for shape, _, full in model.calls] == [(16, False), (dark, True)]


async def test_values_that_are_not_finite_even_in_full_precision_fail_the_request(start: Start) -> None:
    def broken(cores: dict[int, Tiles], tiles: Tiles, full_precision: bool) -> dict[int, Tiles]:
        cores[4][(tiles == POISON).any(axis=(1, 2)), 0, 0] = np.nan
        return cores

    engine = await start(FakeModel(after=broken))
    with pytest.raises(InferenceFailed, match="not finite"):
        await engine.upscale([poisoned(8, 8, 1, 1)], scale=4, client="me")
    await engine.upscale([picture(8, 8)], scale=4, client="me")
    assert counters(engine) == ZERO


def drop_level(cores: dict[int, Tiles]) -> dict[int, Tiles]:
    return {4: cores[4]}


def drop_tile(cores: dict[int, Tiles]) -> dict[int, Tiles]:
    return {level: core[:-1] for level, core in cores.items()}


def transpose(cores: dict[int, Tiles]) -> dict[int, Tiles]:
    return {level: core.transpose(0, 2, 1) for level, core in cores.items()}


@pytest.mark.parametrize("spoil", [drop_level, drop_tile, transpose])
async def test_a_model_output_of_the_wrong_shape_is_a_failure(
    start: Start, spoil: Callable[[dict[int, Tiles]], dict[int, Tiles]]
) -> None:
    def after(cores: dict[int, Tiles], tiles: Tiles, full_precision: bool) -> dict[int, Tiles]:
        return spoil(cores) if (tiles == POISON).any() else cores

    engine = await start(FakeModel(after=after))
    with pytest.raises(InferenceFailed) as failure:
        await engine.upscale([poisoned(4, 8, 1, 1)], scale=4, client="me")
    assert "should have returned" in str(failure.value.__cause__)
    await engine.upscale([picture(4, 8)], scale=4, client="me")
