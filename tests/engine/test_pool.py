"""Workers that die, hang or never come up; and what the status says meanwhile."""

import asyncio
import gc
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from app.engine import Engine, EngineConfig
from app.engine.pool import Pool, _Slot
from app.engine.scheduler import Scheduler
from app.errors import Draining, InferenceFailed, StartupError
from tests.engine.conftest import ZERO, Start, counters
from tests.engine.fakes import FakeModel, Gate, Recorder, Tiles, expected, picture
from tests.fakes import worker


def mortal(*deaths: BaseException) -> Callable[[Tiles, int, bool], None]:
    """The first calls raise these, one each."""
    left = list(deaths)

    def before(tiles: Tiles, scale: int, full_precision: bool) -> None:
        if left:
            raise left.pop(0)

    return before


def replacements(models: list[FakeModel]) -> Callable[[], FakeModel]:
    """A factory that gives these models, one after the other."""
    return iter(models).__next__


async def test_a_dead_worker_is_replaced_and_its_successor_computes_its_tiles(start: Start, recorder: Recorder) -> None:
    models = [FakeModel(mortal(SystemExit("killed"))), FakeModel()]
    engine = await start(replacements(models))
    outputs = await engine.upscale([picture(20, 20)], scale=4, client="me")
    np.testing.assert_array_equal(outputs[0][4], expected(picture(20, 20), 4)[4])
    assert len(models[0].calls) == 1
    assert models[1].warmed
    worker = engine.status().workers[0]
    assert (worker.up, worker.restarts) == (True, 1)
    assert recorder.workers == [("worker-0", "cpu", True), ("worker-0", "cpu", False), ("worker-0", "cpu", True)]
    assert recorder.restarts == {"worker-0": 1}
    assert counters(engine) == ZERO


async def test_the_networks_of_dead_workers_are_freed(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        logging.getLogger("app.engine.worker_thread"), "disabled", True
    )  # pytest keeps records and their frames
    alive: list[weakref.ref[FakeModel]] = []

    def factory() -> FakeModel:
        calls = 0

        def die_on_the_second(tiles: Tiles, scale: int, full_precision: bool) -> None:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise SystemExit("killed")

        model = FakeModel(die_on_the_second)
        alive.append(weakref.ref(model))
        return model

    engine = await start(factory)
    for _ in range(5):
        await engine.upscale([picture(8, 8)], scale=4, client="me")
    gc.collect()
    assert len(alive) == 5
    assert [index for index, model in enumerate(alive) if model() is not None] == [4]


@pytest.fixture
def without_collector() -> Iterator[None]:
    """Only references count: the collector may not run for a long time, and networks are large."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def until_freed(kept: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while kept() is not None:
        assert time.monotonic() < end, "something still refers to it"
        await asyncio.sleep(0.01)


@pytest.mark.usefixtures("without_collector")
async def test_the_network_of_a_dead_worker_is_freed_before_it_is_replaced(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("app.engine.worker_thread"), "disabled", True)  # records keep frames
    alive: list[weakref.ref[FakeModel]] = []

    def factory() -> FakeModel:
        model = FakeModel(mortal(SystemExit("killed")))
        alive.append(weakref.ref(model))
        return model

    engine = await start(factory, restart_seconds=60.0, restart_max_seconds=60.0)
    task = asyncio.create_task(engine.upscale([picture(8, 8)], scale=4, client="me"))
    await until_freed(alive[0])
    assert engine.status().workers[0].restarts == 0
    task.cancel()


@pytest.mark.usefixtures("without_collector")
async def test_the_networks_of_an_engine_are_freed_when_it_is_stopped_and_dropped() -> None:
    """And what they are built from."""
    alive: list[weakref.ref[Any]] = []

    def factory() -> FakeModel:
        model = FakeModel()
        alive.append(weakref.ref(model))
        return model

    engine = Engine([worker(factory), worker(factory)])
    await engine.start()
    await engine.upscale([picture(8, 8)], scale=4, client="me")
    await engine.stop(30.0)
    alive.append(weakref.ref(factory))
    del engine, factory
    for each in alive:
        await until_freed(each)


async def test_a_worker_is_up_while_it_waits_and_while_it_computes(start: Start) -> None:
    """However long it has waited, and until the call of the network has taken too long."""
    gate = Gate()
    engine = await start(FakeModel(gate), hang_seconds=0.9)
    assert engine.status().workers[0].state == "up"
    patient = await start(FakeModel(gate), hang_seconds=600.0)
    task = asyncio.create_task(patient.upscale([picture(8, 8)], scale=4, client="me"))
    await asyncio.to_thread(gate.wait_entered)
    assert patient.status().workers[0].state == "up"
    gate.open()
    await task


async def test_the_status_is_not_alive_while_the_only_worker_is_down(start: Start, recorder: Recorder) -> None:
    build = Gate()
    models = [FakeModel(mortal(SystemExit("killed"))), FakeModel()]

    def factory() -> FakeModel:
        if len(models) == 1:
            build()
        return models.pop(0)

    engine = await start(factory)
    assert engine.status().alive
    task = asyncio.create_task(engine.upscale([picture(8, 8)], scale=4, client="me"))
    await asyncio.to_thread(build.wait_entered)
    status = engine.status()
    assert not status.alive
    assert status.workers[0].state == "down"
    assert (status.queue_tiles, engine.scheduler.in_flight) == (1, 0), "the tile waits for the next worker"
    build.open()
    await task
    assert engine.status().alive


async def test_the_engine_is_alive_while_one_of_two_workers_is_down(start: Start, recorder: Recorder) -> None:
    dying = FakeModel(mortal(SystemExit("killed")))
    engine = await start(replacements([dying]), FakeModel, restart_seconds=60.0, restart_max_seconds=60.0)
    plane = picture(64, 64)
    while not dying.calls:
        outputs = await engine.upscale([plane], scale=4, client="me")
        np.testing.assert_array_equal(outputs[0][4], expected(plane, 4)[4])
    await asyncio.to_thread(recorder.wait_for, lambda: ("worker-0", "cpu", False) in recorder.workers)
    assert engine.status().alive
    assert [worker.state for worker in engine.status().workers] == ["down", "up"]


async def test_a_tile_that_kills_every_worker_fails_its_request(start: Start) -> None:
    engine = await start(lambda: FakeModel(mortal(SystemExit("killed"))), max_failed_attempts=3)
    with pytest.raises(InferenceFailed, match="3 workers") as failure:
        await engine.upscale([picture(8, 8)], scale=4, client="me")
    assert isinstance(failure.value.__cause__, SystemExit)
    assert counters(engine) == ZERO


async def test_a_worker_that_fails_on_every_tile_is_replaced_without_failing_the_request(start: Start) -> None:
    broken = FakeModel(mortal(*(RuntimeError("device lost") for _ in range(99))))
    engine = await start(replacements([broken, FakeModel()]))
    outputs = await engine.upscale([picture(8, 8)], scale=4, client="me")
    np.testing.assert_array_equal(outputs[0][4], expected(picture(8, 8), 4)[4])
    assert len(broken.calls) == 3, "the tile twice, and a gray one"
    assert engine.status().workers[0].restarts == 1


async def test_a_factory_that_fails_is_retried(start: Start, recorder: Recorder) -> None:
    outcomes: list[Any] = [FakeModel(mortal(SystemExit("killed"))), OSError("disk"), OSError("disk"), FakeModel()]

    def factory() -> FakeModel:
        outcome = outcomes.pop(0)
        if isinstance(outcome, OSError):
            raise outcome
        assert isinstance(outcome, FakeModel)
        return outcome

    engine = await start(factory)
    await engine.upscale([picture(8, 8)], scale=4, client="me")
    assert engine.status().workers[0].restarts == 3
    assert recorder.restarts == {"worker-0": 3}


async def test_a_worker_that_has_never_been_up_is_reported_as_down(start: Start, recorder: Recorder) -> None:
    """As a second GPU that is broken when the service starts: nothing else would show that it is missing."""
    repaired = threading.Event()

    def second() -> FakeModel:
        if not repaired.is_set():
            raise OSError("no device")
        return FakeModel()

    await start(FakeModel, second)
    await asyncio.to_thread(recorder.wait_for, lambda: ("worker-1", "", False) in recorder.workers)
    repaired.set()
    await asyncio.to_thread(recorder.wait_for, lambda: recorder.workers[-1] == ("worker-1", "cpu", True))


async def test_workers_of_an_engine_that_does_not_start_are_not_reported() -> None:
    """In a reload, workers of the same names go on in the engine before it."""

    def broken() -> FakeModel:
        raise OSError("disk")

    recorder = Recorder()
    with pytest.raises(StartupError, match="disk"):
        await Engine([worker(broken)] * 2, EngineConfig(restart_seconds=0.01), recorder).start()
    assert recorder.workers == []


async def test_starting_the_thread_of_a_worker_is_retried(
    start: Start, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await start(replacements([FakeModel(mortal(SystemExit("killed"))), FakeModel()]))
    refusals = [RuntimeError("can't start new thread")]
    begin = threading.Thread.start

    def reluctant(thread: threading.Thread) -> None:
        if thread.name.startswith("engine-worker") and refusals:
            raise refusals.pop()
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", reluctant)
    await engine.upscale([picture(8, 8)], scale=4, client="me")
    assert not refusals
    assert engine.status().workers[0].restarts == 2


@pytest.mark.parametrize(
    ("deaths", "up_for", "seconds"),
    [(0, 0.0, 0.5), (3, 0.0, 4.0), (10, 0.0, 30.0), (10, 1.0, 30.0), (10, 31.0, 0.5), (5000, 0.0, 30.0)],
)
def test_a_worker_that_dies_again_waits_twice_as_long_unless_it_was_up_for_long(
    deaths: int, up_for: float, seconds: float
) -> None:
    """After 5,000 deaths, too, the wait is a number: a worker that comes up after a night is used."""
    config = EngineConfig(restart_seconds=0.5, restart_max_seconds=30.0)
    pool = Pool([worker(FakeModel)], Scheduler(config), config, Recorder(), lambda: None)
    before = time.monotonic()
    slot = _Slot("worker-0", worker(FakeModel), state="up", deaths=deaths, up_since=before - up_for)
    pool._schedule(slot, "down")
    assert slot.replace_at is not None
    assert before + seconds <= slot.replace_at <= time.monotonic() + seconds


async def test_a_hung_worker_is_reported_and_replaced_and_writes_nothing_when_it_wakes_up(
    start: Start, recorder: Recorder
) -> None:
    gate, build, next_gate = Gate(), Gate(), Gate()
    woke = threading.Event()
    zombies: list[threading.Thread] = []

    def lie(cores: dict[int, Tiles], tiles: Tiles, full_precision: bool) -> dict[int, Tiles]:
        zombies.append(threading.current_thread())
        woke.set()
        return {level: core * 0 - 1 for level, core in cores.items()}

    hung = FakeModel(gate, lie)
    models = [hung, FakeModel(next_gate)]

    def factory() -> FakeModel:
        if len(models) == 1:
            build()
        return models.pop(0)

    engine = await start(factory, tile_widths=(8,), hang_seconds=1.0)
    plane = picture(8, 16)
    task = asyncio.create_task(engine.upscale([plane], scale=4, client="me"))
    await asyncio.to_thread(build.wait_entered)
    assert engine.status().workers[0].state == "hung"
    assert not engine.status().alive
    assert ("worker-0", "cpu", False) in recorder.workers
    build.open()
    next_gate.open(batches=1)
    await asyncio.to_thread(next_gate.wait_entered, 2)
    gate.open()
    assert await asyncio.to_thread(woke.wait, 30), "the tile it held is done by another, and the request is still open"
    await asyncio.to_thread(zombies[0].join, 30)
    next_gate.open()
    outputs = await task
    np.testing.assert_array_equal(outputs[0][4], expected(plane, 4)[4])
    assert len(hung.calls) == 1
    assert engine.status().workers[0].restarts == 1
    assert counters(engine) == ZERO


@pytest.mark.parametrize("error", [OSError("no weights at weights/x"), SystemExit("no weights at weights/x")])
async def test_a_failed_start_raises_the_cause(error: BaseException) -> None:
    def factory() -> FakeModel:
        raise error

    engine = Engine([worker(factory)] * 2, EngineConfig())
    with pytest.raises(StartupError, match="no weights at weights/x") as failure:
        await engine.start()
    assert failure.value.__cause__ is error
    assert not engine.status().alive


async def test_a_cancelled_start_ends_its_threads() -> None:
    gate = Gate()

    def factory() -> FakeModel:
        gate()
        return FakeModel()

    engine = Engine([worker(factory)], EngineConfig())
    starting = asyncio.create_task(engine.start())
    await asyncio.to_thread(gate.wait_entered)
    gate.open()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not any(thread.name.startswith("engine-") for thread in threading.enumerate())


async def test_workers_whose_models_differ_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    async with Engine([worker(lambda: FakeModel(margin=3))], EngineConfig()) as engine:
        assert engine.status().alive
        assert not engine.scheduler.draining
    built = threading.Event()

    def second() -> FakeModel:
        assert built.wait(30)
        return FakeModel(margin=4, device="cuda:1")

    class First(FakeModel):
        def warm_up(self, shapes: object) -> None:
            built.set()

    engine = Engine([worker(First), worker(second)], EngineConfig(restart_seconds=60.0, restart_max_seconds=60.0))
    await engine.start()
    assert [worker.state for worker in engine.status().workers] == ["up", "down"]
    (error,) = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert isinstance(error, StartupError)
    assert "margin 4" in str(error)
    await engine.stop(0)


async def test_an_engine_can_be_started_only_once(start: Start) -> None:
    engine = await start(FakeModel)
    with pytest.raises(StartupError, match="before"):
        await engine.start()


async def test_an_engine_needs_at_least_one_worker() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Engine([])


async def test_stop_leaves_no_thread_behind(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    engine = await start(FakeModel, FakeModel)
    await engine.upscale([picture(20, 20)], scale=4, client="me")
    await engine.stop(1)
    await engine.stop(1)
    assert not any(thread.name.startswith("engine-") for thread in threading.enumerate())
    assert not caplog.records


async def test_workers_that_end_before_their_pool_is_stopped_are_not_replaced(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They end as soon as the scheduler is closed, and the thread that stops the pool may begin much later."""
    engine = await start(FakeModel)
    stop = Pool.stop

    def late(pool: Pool, timeout: float) -> bool:
        while any(thread.name.startswith("engine-") for thread in threading.enumerate()):
            if any(worker.restarts for worker in pool.status()):
                break
            time.sleep(0.01)
        return stop(pool, timeout)

    monkeypatch.setattr(Pool, "stop", late)
    await engine.stop(1)
    assert [worker.restarts for worker in engine.status().workers] == [0]


async def test_stop_says_so_if_a_worker_does_not_end(
    start: Start, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.engine.engine._JOIN_SECONDS", 0.1)
    gate = Gate()
    engine = await start(FakeModel(gate))
    task = asyncio.create_task(engine.upscale([picture(8, 8)], scale=4, client="me"))
    await asyncio.to_thread(gate.wait_entered)
    await engine.stop(0.0)
    assert "did not stop within 0 s" in caplog.text
    with pytest.raises(Draining):
        await task
    gate.open()
