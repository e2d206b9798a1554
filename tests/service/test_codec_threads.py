"""Small pictures do not wait behind large ones, and large ones take turns band by band."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator

import pytest

from app.engine import Outputs
from app.service.codec_threads import SMALL_PIXELS, CodecThreads
from app.service.level_writer import LevelWriter
from tests.codec.support import bicubic, codec, picture, saved, wanted


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


async def test_what_is_raised_comes_back(threads: CodecThreads) -> None:
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux only")
async def test_threads_for_large_pictures_give_way(threads: CodecThreads) -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    own = niceness()
    assert await threads.run(niceness, 1) == own
    assert await threads.run(niceness, SMALL_PIXELS + 1) == min(own + 10, 19)
    assert niceness() == own


async def test_a_large_picture_s_bands_are_pieces_of_work_of_their_own(threads: CodecThreads) -> None:
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
