"""What the engine reports while it works: progress, stages, batches; observers that fail do not harm it."""

import asyncio
import threading

import pytest

from app.engine import Engine, EngineConfig
from app.errors import QueueFull
from tests.engine.conftest import Start
from tests.engine.fakes import FakeModel, Gate, Recorder, assert_upscaled, picture
from tests.fakes import worker


async def test_progress_runs_from_zero_to_all_tiles_and_is_reported_in_the_event_loop(start: Start) -> None:
    engine = await start(FakeModel)
    loop_thread, seen = threading.get_ident(), []

    def note(done: int, total: int) -> None:
        assert threading.get_ident() == loop_thread
        seen.append((done, total))

    await engine.upscale([picture(40, 40)], scale=4, client="me", on_progress=note)
    assert seen[0] == (0, 25)
    assert seen[-1] == (25, 25)
    assert seen == sorted(set(seen))


async def test_progress_is_reported_at_most_once_per_interval(start: Start) -> None:
    engine = await start(FakeModel, progress_seconds=60.0)
    seen: list[tuple[int, int]] = []
    await engine.upscale([picture(40, 40)], scale=4, client="me", on_progress=lambda *counts: seen.append(counts))
    assert seen == [(0, 25), (25, 25)]


async def test_progress_within_an_interval_is_reported_at_its_end(start: Start) -> None:
    """Even if nothing happens afterwards, observers must get the latest state."""
    gate = Gate()
    engine = await start(FakeModel(gate), progress_seconds=0.05, max_batch_tiles=1)
    reported = asyncio.Event()

    def note(done: int, total: int) -> None:
        if done == 1:
            reported.set()

    task = asyncio.create_task(engine.upscale([picture(40, 40)], scale=4, client="me", on_progress=note))
    gate.open(1)
    await asyncio.wait_for(reported.wait(), 20)
    gate.open()
    await task


async def test_a_progress_callback_that_fails_does_not_fail_the_request(start: Start) -> None:
    calls: list[int] = []

    def fail(done: int, total: int) -> None:
        calls.append(done)
        if done:
            raise RuntimeError("not my day")

    engine = await start(FakeModel)
    await engine.upscale([picture(9, 9)], scale=4, client="me", on_progress=fail)
    assert any(calls), "it has failed"


async def test_stages_and_batches_are_reported(start: Start, recorder: Recorder) -> None:
    engine = await start(FakeModel, tile_widths=(8,))
    stages: dict[str, float] = {}
    await engine.upscale([picture(8, 24)], scale=4, client="me", on_stage=stages.__setitem__)
    assert list(stages) == ["queue", "infer"]
    assert recorder.stages == list(stages.items())
    assert stages["queue"] >= 0
    assert stages["infer"] > 0
    assert sum(recorder.batches) == 3
    assert recorder.queues[-1] == (0, 0.0)


async def test_the_retry_time_follows_from_the_measured_rate(start: Start) -> None:
    gate = Gate()
    engine = await start(FakeModel(gate), tile_widths=(8,), max_tiles=3, retry_seconds=1e9)
    gate.open(1)
    await engine.upscale([picture(8, 8)], scale=4, client="me")
    held = asyncio.create_task(engine.upscale([picture(8, 24)], scale=4, client="me"))
    await asyncio.to_thread(gate.wait_entered, 2)
    with pytest.raises(QueueFull) as refusal:
        await engine.upscale([picture(8, 8)], scale=4, client="me")
    assert refusal.value.retry_after < 1e9, "not what is said while there is no rate"
    gate.open()
    await held


async def test_an_observer_that_fails_does_not_fail_requests_or_workers() -> None:
    class Broken(Recorder):
        def batch(self, tiles: int, seconds: float, worker: str) -> None:
            raise RuntimeError("no metrics today")

        def worker(self, worker: str, device: str, up: bool) -> None:
            raise RuntimeError("no metrics today")

    async with asyncio.timeout(10), Engine([worker(FakeModel)], EngineConfig(), Broken()) as engine:
        assert_upscaled([picture(9, 9)], await engine.upscale([picture(9, 9)], scale=4, client="me"))
