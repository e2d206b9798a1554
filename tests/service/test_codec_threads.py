"""Small pictures do not wait behind large ones, and large ones take turns band by band."""

import asyncio
import contextlib
import gc
import os
import sys
import threading
import weakref
from collections.abc import AsyncIterator

import pytest

from app.engine import Outputs
from app.errors import StartupError
from app.service.codec_threads import SMALL_PIXELS, CodecThreads
from app.service.level_writer import LevelWriter
from tests.codec.support import bicubic, codec, picture, saved, wanted
from tests.conftest import until


@pytest.fixture
async def threads() -> AsyncIterator[CodecThreads]:
    made = CodecThreads(1)
    yield made
    await made.close()


async def test_a_small_picture_does_not_wait_for_a_large_one(threads: CodecThreads) -> None:
    go = threading.Event()
    large = asyncio.create_task(threads.run(lambda: go.wait(30), SMALL_PIXELS + 1))
    behind = asyncio.create_task(threads.run(lambda: "behind", SMALL_PIXELS + 1))
    try:
        async with asyncio.timeout(20):
            assert await threads.run(lambda: "small", SMALL_PIXELS) == "small"
        assert not large.done()
        assert not behind.done(), "another large one waits"
    finally:
        go.set()
    assert await large
    assert await behind == "behind"


@pytest.mark.parametrize("pixels", [SMALL_PIXELS, SMALL_PIXELS + 1])
async def test_the_pieces_of_one_client_leave_a_thread_to_others(pixels: int) -> None:
    threads, go, began = CodecThreads(2), threading.Event(), threading.Semaphore(0)

    def long() -> bool:
        began.release()
        return go.wait(30)

    anns = [asyncio.create_task(threads.run(long, pixels, "ann")) for _ in range(9)]
    try:
        for _ in range(2):
            assert await asyncio.to_thread(began.acquire, timeout=30)
        async with asyncio.timeout(20):
            for name in ("bob", "bob", "carl"):
                assert await threads.run(lambda name=name: name, pixels, name) == name  # type: ignore[misc]
        assert not began.acquire(blocking=False), "two threads are for one client"
    finally:
        go.set()
    assert await asyncio.gather(*anns) == [True] * 9
    await threads.close()


async def test_clients_take_turns_piece_by_piece(threads: CodecThreads) -> None:
    """On one of the two threads, as the other one has work all the time."""
    go, end, order = threading.Event(), threading.Event(), list[str]()
    first, other = (
        asyncio.create_task(threads.run(lambda until=until: until.wait(30), SMALL_PIXELS + 1, name))  # type: ignore[misc]
        for name, until in (("x", go), ("y", end))
    )
    await asyncio.sleep(0)
    pieces = [
        asyncio.create_task(threads.run(lambda name=name: order.append(name), SMALL_PIXELS + 1, name))  # type: ignore[misc]
        for name in "aaaabbc"
    ]
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(first, *pieces)
    end.set()
    assert await other
    assert "".join(order) == "abcabaa"


async def test_closing_cancels_waiting_pieces_and_finishes_those_that_have_begun() -> None:
    threads, began, go = CodecThreads(1), threading.Event(), threading.Event()

    def piece() -> bool:
        began.set()
        return go.wait(30)

    work = [asyncio.create_task(threads.run(piece, SMALL_PIXELS + 1)) for _ in range(3)]
    await until(began.is_set)
    closing = asyncio.create_task(threads.close())
    await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
    go.set()
    await closing
    first, *others = await asyncio.gather(*work, return_exceptions=True)
    assert first is True
    assert [type(each) for each in others] == [asyncio.CancelledError] * 2


async def test_a_piece_that_was_cancelled_while_waiting_is_not_run(threads: CodecThreads) -> None:
    go, done = threading.Event(), list[str]()
    first = asyncio.create_task(threads.run(lambda: go.wait(30), SMALL_PIXELS + 1))
    gone, kept = (
        asyncio.create_task(threads.run(lambda name=name: done.append(name), SMALL_PIXELS + 1))  # type: ignore[misc]
        for name in ("gone", "kept")
    )
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(first, kept)
    assert done == ["kept"]


@pytest.mark.parametrize("fails", [False, True])
async def test_references_held_by_a_piece_are_dropped_as_soon_as_it_ends(threads: CodecThreads, fails: bool) -> None:
    class Planes:
        def work(self) -> None:
            if fails:
                raise ValueError

    gc.disable()
    try:
        planes = Planes()
        gone = weakref.ref(planes)
        running = threads.run(planes.work, 1)
        del planes
        with contextlib.suppress(ValueError):
            await running
        del running
        await until(lambda: gone() is None)
    finally:
        gc.enable()


async def test_exceptions_are_passed_on_to_the_caller(threads: CodecThreads) -> None:
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux only")
async def test_threads_for_large_pictures_have_a_lower_priority(threads: CodecThreads) -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    own = niceness()
    assert await threads.run(niceness, 1) == own
    assert await threads.run(niceness, SMALL_PIXELS + 1) == min(own + 10, 19)
    assert niceness() == own


async def test_the_bands_of_a_large_picture_are_separate_pieces_of_work(threads: CodecThreads) -> None:
    """Another large picture's work, which comes when the first band is being written, is done before the last one."""
    service = codec()
    decoded = service.decode(saved(picture(640, 600, 3) // 8, "PNG"), wanted(scale=4))
    outputs = Outputs({level: bicubic(plane, level) for level in (2, 4)} for plane in decoded.frames[0].planes)
    writer = LevelWriter(service, decoded, wanted(), (2, 4), threads)
    finished = asyncio.create_task(writer.finish(outputs))
    await asyncio.sleep(0)
    await threads.run(lambda: None, SMALL_PIXELS + 1)
    assert not finished.done()
    assert set(await finished) == {2, 4}


async def test_all_threads_are_started_before_the_first_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Later, a container may already have all the processes that it is allowed."""
    threads = CodecThreads(2)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", _refused)
            pieces = [threads.run(lambda: 1, pixels) for pixels in (1, SMALL_PIXELS + 1) for _ in range(5)]
            assert sum(await asyncio.gather(*pieces)) == 10
    finally:
        await threads.close()


def test_too_few_threads_are_reported_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", _refused)
    with pytest.raises(StartupError, match="pids_limit"):
        CodecThreads(2)


def _refused(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
