"""A reload frees what it replaces immediately, without the garbage collector, however often it is repeated."""

import asyncio
import gc
import signal
import time
import weakref
from pathlib import Path

import pytest

from tests.conftest import Running, service_of
from tests.service_process import Process, start


async def test_the_previous_engine_is_freed_when_the_reload_is_over(serve: Running) -> None:
    async with serve() as client:
        service = service_of(client)
        pool = service.engine._pool
        assert pool is not None
        gone: list[weakref.ref[object]] = [
            weakref.ref(service.engine),
            weakref.ref(pool),
            weakref.ref(next(iter(pool._slots)).thread),
        ]
        del pool
        gc.collect()
        gc.disable()
        try:
            await service.reload()
            await asyncio.sleep(0)  # the task of the reload lets go of its frame
            assert [each() for each in gone] == [None] * 3
        finally:
            gc.enable()


def resident_mib(process: Process) -> float:
    status = Path(f"/proc/{process.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


def reloaded(process: Process, times: int) -> float:
    """Memory in MiB when the log says for the `times`-th time that weights were swapped."""
    process.signal(signal.SIGHUP)
    end = time.monotonic() + 120
    while process.log.read_text().count("weights swapped") < times:
        assert process.process.poll() is None, process.log.read_text()
        assert time.monotonic() < end, "the weights were not swapped"
        time.sleep(0.1)
    return resident_mib(process)


@pytest.mark.slow
@pytest.mark.server
def test_ten_reloads_take_no_more_memory_than_one(tmp_path: Path, weights: Path) -> None:
    """The allocator is a few MiB apart from one reload to the next; an engine that stays takes forty."""
    process = start(tmp_path / "service.log", {"cpu_workers": "1", "decode": "inline", "weights": str(weights)})
    try:
        process.get_ready()
        memory = [reloaded(process, times) for times in range(1, 11)]
        assert min(memory[5:]) <= 1.05 * max(memory[:2]), memory
    finally:
        process.kill()
