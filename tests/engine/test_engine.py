"""The engine from outside: right pixels, fairness, admission, cancellation, shutdown."""

import asyncio
import gc
import threading
import weakref
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from app.engine import Engine, EngineConfig, Plane
from app.engine.request import Request
from app.engine.tiles import Shape
from app.errors import BadParameter, Draining, QueueFull, StartupError
from tests.conftest import until
from tests.engine.conftest import ZERO, Start, counters
from tests.engine.fakes import FakeModel, Gate, Tiles, assert_upscaled, picture
from tests.fakes import worker


def flat(height: int, width: int, value: float) -> Plane:
    return np.full((height, width), value, np.float32)


@pytest.mark.parametrize("edges", [(4, 8), (5,), (3, 7, 16), (64,)])
@pytest.mark.parametrize("workers", [1, 3])
async def test_every_plane_and_level_is_the_whole_picture_upscaled(
    start: Start, edges: tuple[int, ...], workers: int
) -> None:
    engine = await start(*(FakeModel for _ in range(workers)), tile_widths=edges)
    planes = [picture(37, 21), picture(1, 1), picture(2, 30), picture(30, 1), picture(8, 16)]
    assert_upscaled(planes, await engine.upscale(planes, scale=4, client="me"))
    assert counters(engine) == ZERO


async def test_a_read_only_view_of_a_larger_array_can_be_upscaled(start: Start) -> None:
    engine = await start(FakeModel)
    plane = picture(40, 40)[3:30:2, 5:31]
    plane.flags.writeable = False
    assert_upscaled([plane], await engine.upscale([plane], scale=4, client="me"))


@pytest.mark.parametrize(("scale", "levels"), [(2, [2]), (4, [2, 4]), (8, [2, 4, 8])])
async def test_the_model_computes_no_levels_beyond_the_requested_scale(
    start: Start, scale: int, levels: list[int]
) -> None:
    model = FakeModel(scales=(2, 4, 8))
    engine = await start(model)
    outputs = await engine.upscale([picture(9, 9)], scale=scale, client="me")
    assert sorted(outputs[0]) == levels
    assert {call[1] for call in model.calls} == {scale}


async def test_concurrent_requests_get_the_same_result_as_alone(start: Start) -> None:
    engine = await start(FakeModel, FakeModel)
    pictures = [[picture(10 + index, 30 - index, seed=index)] for index in range(16)]
    results = await asyncio.gather(
        *(engine.upscale(planes, scale=2 + 2 * (i % 2), client=str(i % 3)) for i, planes in enumerate(pictures))
    )
    for index, (planes, outputs) in enumerate(zip(pictures, results, strict=True)):
        assert_upscaled(planes, outputs, scale=2 + 2 * (index % 2))
    assert counters(engine) == ZERO


async def test_a_small_picture_is_split_between_workers_only_if_nothing_else_is_running(start: Start) -> None:
    """Alone it is done sooner in pieces; in company, pieces would wait for more turns than the whole does."""
    gate = Gate()
    engine = await start(FakeModel(before=gate), FakeModel(before=gate), split_above=8, split_above_idle=4)
    first = asyncio.create_task(engine.upscale([picture(8, 8, seed=1)], scale=4, client="me"))
    await asyncio.to_thread(gate.wait_entered, 2)
    second = asyncio.create_task(engine.upscale([picture(8, 8, seed=2)], scale=4, client="me"))
    await asyncio.sleep(0)
    assert (engine.scheduler.requests, engine.status().queue_tiles) == (2, 1)
    gate.open()
    assert_upscaled([picture(8, 8, seed=1)], await first)
    assert_upscaled([picture(8, 8, seed=2)], await second)


async def test_a_picture_of_many_tiles_is_cut_while_the_loop_runs(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row of four megapixels at effort=best has 262,144: the loop stood still for up to 20 s."""
    engine, cut, going_on = await start(FakeModel), Request.cut, threading.Event()

    def wait_and_cut(*arguments: Any, **more: Any) -> Request:
        assert going_on.wait(20), "the loop waits"
        return cut(*arguments, **more)

    monkeypatch.setattr(Request, "cut", wait_and_cut)
    plane = picture(1, 8 * 2049)
    upscaled = asyncio.create_task(engine.upscale([plane], scale=2, client="me"))
    await asyncio.sleep(0)
    going_on.set()
    assert_upscaled([plane], await upscaled, scale=2)


async def test_a_picture_without_room_is_refused_before_it_is_cut(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    engine = await start(FakeModel(before=gate), max_tiles=100)
    first = asyncio.create_task(engine.upscale([picture(4, 4)], scale=2, client="me"))
    await asyncio.to_thread(gate.wait_entered)
    monkeypatch.setattr(Request, "cut", Mock(side_effect=AssertionError("it is cut")))
    with pytest.raises(QueueFull, match="this picture's 262144 tiles and 1 MiB do not fit"):
        await engine.upscale([picture(1, 8 * 2**15)], scale=2, client="me", passes=8)
    gate.open()
    await first


async def test_no_planes_give_no_outputs(start: Start) -> None:
    assert await (await start(FakeModel)).upscale([], scale=4, client="me") == []


@pytest.mark.parametrize("plane", [np.ones((2, 2)), np.ones(4, np.float32), np.ones((0, 4), np.float32)])
async def test_a_plane_of_the_wrong_type_or_shape_is_refused(start: Start, plane: Plane) -> None:
    with pytest.raises(ValueError, match="float32"):
        await (await start(FakeModel)).upscale([plane], scale=4, client="me")


async def test_a_scale_that_the_model_does_not_have_is_refused(start: Start) -> None:
    engine = await start(FakeModel)
    with pytest.raises(BadParameter, match="allowed: 2, 4"):
        await engine.upscale([picture(2, 2)], scale=3, client="me")


async def test_an_engine_that_has_not_been_started_refuses_work() -> None:
    engine = Engine([worker(FakeModel)])
    assert not engine.status().alive
    assert engine.scales == ()
    with pytest.raises(StartupError, match="ready"):
        await engine.upscale([picture(2, 2)], scale=4, client="me")


def test_an_engine_can_be_used_with_asyncio_run() -> None:
    async def upscale() -> list[dict[int, Plane]]:
        async with Engine([worker(FakeModel)], EngineConfig(tile_widths=(8,))) as engine:
            assert engine.scales == (2, 4)
            return await engine.upscale([picture(20, 20)], scale=4, client="me")

    assert_upscaled([picture(20, 20)], asyncio.run(upscale()))


class Order:
    """Holds the first batch, and notes the values of flat tiles in the order in which the model sees them."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.batches: list[list[int]] = []

    def __call__(self, tiles: Tiles, scale: int, full_precision: bool) -> None:
        self.batches.append([int(value) for value in tiles[:, 3, 3]])
        self.gate(tiles, scale, full_precision)


async def submit(engine: Engine, plane: Plane, client: str) -> asyncio.Task[list[dict[int, Plane]]]:
    """A request that is admitted when this returns: `upscale` does so before it first waits."""
    task = asyncio.create_task(engine.upscale([plane], scale=4, client=client))
    await asyncio.sleep(0)
    return task


async def test_an_idle_worker_takes_a_single_tile_immediately_and_batches_grow_while_it_is_busy(start: Start) -> None:
    order = Order()
    engine = await start(FakeModel(order), tile_widths=(8,), max_batch_pixels=16 * 64)
    tasks = [await submit(engine, flat(8, 8, 1), "a")]
    await asyncio.to_thread(order.gate.wait_entered)
    tasks += [await submit(engine, flat(8, 8, value), f"client {value}") for value in range(2, 8)]
    order.gate.open()
    await asyncio.gather(*tasks)
    assert order.batches == [[1], [2, 3, 4, 5], [6, 7]]


async def test_idle_workers_share_the_tiles_of_a_request(start: Start) -> None:
    barrier = threading.Barrier(2)

    def meet(tiles: Tiles, scale: int, full_precision: bool) -> None:
        barrier.wait(30)

    engine = await start(FakeModel(meet), FakeModel(meet), tile_widths=(8,), max_batch_pixels=16 * 64)
    await until(lambda: engine.scheduler.idle == 2)
    await engine.upscale([picture(8, 32)], scale=4, client="me")


async def test_a_picture_that_fits_one_large_tile_is_split_for_two_workers(start: Start) -> None:
    barrier = threading.Barrier(2)

    def meet(tiles: Tiles, scale: int, full_precision: bool) -> None:
        barrier.wait(10)

    engine = await start(FakeModel(meet), FakeModel(meet), tile_widths=(64, 128), max_batch_pixels=128 * 128)
    await until(lambda: engine.scheduler.idle == 2)
    assert_upscaled([picture(128, 128)], await engine.upscale([picture(128, 128)], scale=4, client="me"))


async def test_a_thumbnail_waits_for_one_turn_and_not_for_large_pictures(start: Start) -> None:
    order = Order()
    engine = await start(FakeModel(order), tile_widths=(8,))
    tasks = [await submit(engine, flat(32, 32, value), f"bulk {value}") for value in (1, 2, 3)]
    order.gate.open(batches=6)
    await asyncio.to_thread(order.gate.wait_entered, 7)
    tasks.append(await submit(engine, flat(8, 8, 9), "thumbnail"))
    order.gate.open()
    await asyncio.gather(*tasks)
    seen = [value for batch in order.batches for value in batch]
    assert seen[7:9] in ([1, 9], [2, 9], [3, 9]), "after the batch in hand, one more turn"
    assert [sorted(seen[start : start + 3]) for start in (9, 12, 15)] == [[1, 2, 3]] * 3
    assert [seen.count(value) for value in (1, 2, 3, 9)] == [16, 16, 16, 1]


@pytest.mark.parametrize("limit", [{"max_tiles": 4}, {"max_bytes": 4 * 8 * 8 * 4 * (1 + 4 + 16)}])
async def test_a_full_queue_refuses_immediately_with_a_retry_time(start: Start, limit: dict[str, int]) -> None:
    gate = Gate()
    engine = await start(FakeModel(gate), tile_widths=(8,), retry_seconds=7.0, **limit)
    task = await submit(engine, picture(8, 24), "a")
    await asyncio.to_thread(gate.wait_entered)
    with pytest.raises(QueueFull) as refusal:
        await asyncio.wait_for(engine.upscale([picture(8, 16)], scale=4, client="b"), 10)
    assert refusal.value.retry_after == 7.0, "nothing was measured yet"
    fits = await submit(engine, picture(8, 8), "b")
    gate.open()
    await asyncio.gather(task, fits)
    assert counters(engine) == ZERO


async def test_the_work_of_a_tile_is_what_its_network_reports(start: Start) -> None:
    asked: list[Shape] = []
    engine = await start(FakeModel)
    admit = engine.scheduler.admit

    def noted(request: Request) -> None:
        asked.extend(tile.shape for tile in request.tiles)
        admit(request)

    engine.scheduler.admit = noted  # type: ignore[method-assign]
    for scale in (2, 4):
        await engine.upscale([picture(20, 20)], scale=scale, client="me")
    assert len({shape.scale for shape in asked}) == 2
    assert [shape.work for shape in asked] == [shape.pixels * shape.scale**2 for shape in asked]


async def test_a_request_beyond_every_limit_is_admitted_if_the_queue_is_empty(start: Start) -> None:
    engine = await start(FakeModel, max_tiles=1, max_bytes=1)
    assert_upscaled([picture(20, 20)], await engine.upscale([picture(20, 20)], scale=4, client="me"))


async def test_cancelling_a_request_removes_its_tiles_from_the_queue(start: Start) -> None:
    gate, model = Gate(), FakeModel()
    model.before = gate
    engine = await start(model, tile_widths=(8,))
    gone = await submit(engine, picture(8, 80), "a")
    await asyncio.to_thread(gate.wait_entered)
    stays = await submit(engine, picture(8, 16), "b")
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    scheduler = engine.scheduler
    assert (engine.status().queue_tiles, scheduler.in_flight, scheduler.requests) == (2, 1, 2)
    gate.open()
    assert_upscaled([picture(8, 16)], await stays)
    assert len(model.calls) == 3, "one of the request that left, two of the one that stayed"
    assert counters(engine) == ZERO


async def test_stop_finishes_admitted_requests_and_refuses_new_ones(start: Start) -> None:
    gate = Gate()
    engine = await start(FakeModel(gate))
    admitted = await submit(engine, picture(30, 30), "a")
    await asyncio.to_thread(gate.wait_entered)
    stopping = asyncio.create_task(engine.stop(10))
    await asyncio.sleep(0)
    assert engine.scheduler.draining
    assert engine.status().alive
    with pytest.raises(Draining):
        await engine.upscale([picture(4, 4)], scale=4, client="b")
    gate.open()
    assert_upscaled([picture(30, 30)], await admitted)
    await stopping
    assert not engine.status().alive
    assert counters(engine) == ZERO


async def test_stop_aborts_requests_that_are_not_done_within_the_grace_time(start: Start) -> None:
    gate = Gate()
    engine = await start(FakeModel(gate))
    late = await submit(engine, picture(30, 30), "a")
    await asyncio.to_thread(gate.wait_entered)
    stopping = asyncio.create_task(engine.stop(0.01))
    with pytest.raises(Draining, match="shut down"):
        await late
    gate.open()
    await stopping
    assert counters(engine) == ZERO


async def test_the_input_buffer_is_reused_and_finished_pictures_are_freed(start: Start) -> None:
    addresses = set()

    def note(tiles: Tiles, scale: int, full_precision: bool) -> None:
        addresses.add(tiles.__array_interface__["data"][0])

    engine = await start(FakeModel(note), tile_widths=(8,))
    gone = threading.Event()
    gc.disable()
    try:
        outputs = await engine.upscale([picture(40, 40)], scale=4, client="me")
        weakref.finalize(outputs[0][4], gone.set)
        del outputs
        assert await asyncio.to_thread(gone.wait, 30), "somebody still holds the picture"
    finally:
        gc.enable()
    assert len(addresses) == 1


async def test_a_finished_request_with_a_progress_callback_is_freed_without_the_garbage_collector(start: Start) -> None:
    """The garbage collector may not run until hundreds of large pictures have accumulated."""
    engine = await start(FakeModel)
    gone, followed = threading.Event(), list[int]()
    gc.disable()
    try:
        outputs = await engine.upscale(
            [picture(9, 9)],
            scale=4,
            client="me",
            on_progress=lambda done, total: followed.append(done),
            on_rows=lambda rows, _: followed.append(rows),
        )
        weakref.finalize(outputs[0][4], gone.set)
        del outputs
        assert await asyncio.to_thread(gone.wait, 30), "somebody still holds the picture"
    finally:
        gc.enable()
    assert followed
