"""The parent of replicas, with processes that do as they are told."""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from app import supervisor
from app.errors import EXIT_STARTUP
from app.supervisor import Supervisor

SPAWN = multiprocessing.get_context("spawn")


def sleep_and_exit_with(code: int) -> None:
    """A replica: waits for SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(code))
    while True:
        signal.pause()


class Started:
    """Starts processes that exit with these codes, one after the other, and the rest wait for SIGTERM."""

    def __init__(self, *codes: int) -> None:
        self.calls: list[tuple[int, bool]] = []
        self.processes: list[BaseProcess] = []
        self._codes = list(codes)

    def __call__(self, index: int, again: bool) -> BaseProcess:
        self.calls.append((index, again))
        code = self._codes.pop(0) if self._codes else None
        target: Any = sleep_and_exit_with if code is None else sys.exit
        process = SPAWN.Process(target=target, args=(code or 0,))
        process.start()
        self.processes.append(process)
        return process


def supervised(started: Started, folder: Path, count: int = 1) -> Supervisor:
    return Supervisor(count, started, lambda index: folder / f"{index}.sock", 60.0)


@contextlib.asynccontextmanager
async def running(each: Supervisor) -> AsyncIterator[asyncio.Task[int]]:
    task = asyncio.create_task(each.run())
    try:
        yield task
    finally:
        if not task.done():
            os.kill(os.getpid(), signal.SIGTERM)
            await task
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            asyncio.get_running_loop().remove_signal_handler(number)


async def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "what the test waits for did not happen"
        await asyncio.sleep(0.02)


async def test_what_ends_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_PAUSES", (0.0,))
    started = Started(0, 1, EXIT_STARTUP)  # the last one could start before
    started.calls.append((0, False))
    async with running(supervised(started, tmp_path)) as task:
        await until(lambda: len(started.calls) == 5)
        assert started.calls[1:] == [(0, False), (0, True), (0, True), (0, True)]
        assert not task.done()


async def test_what_could_never_start_ends_all(tmp_path: Path) -> None:
    started = Started(EXIT_STARTUP)
    async with running(supervised(started, tmp_path, 2)) as task:
        assert await asyncio.wait_for(task, 60) == EXIT_STARTUP
    assert [process.is_alive() for process in started.processes] == [False, False]


async def test_who_no_longer_answers_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_PROBE_SECONDS", 0.05)
    monkeypatch.setattr(supervisor, "_PAUSES", (0.0,))
    answers = [b"HTTP/1.1 503 Unavailable", b"HTTP/1.1 200 OK", b"HTTP/1.1 503 Unavailable", b"HTTP/1.1 200 OK"]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        status = answers.pop(0) if answers else b"HTTP/1.1 503 Unavailable"
        writer.write(status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    started = Started()
    server = await asyncio.start_unix_server(answer, tmp_path / "0.sock")
    async with server, running(supervised(started, tmp_path)):
        await until(lambda: len(started.calls) == 2)
        assert not answers
        assert started.processes[0].exitcode == -signal.SIGKILL


async def test_who_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_KILL_SECONDS", 0.0)
    started = Started()
    each = Supervisor(1, started, lambda index: tmp_path / "none.sock", 0.0)
    async with running(each) as task:
        await until(lambda: started.processes)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(task, 60)
    assert started.processes[0].exitcode in (0, -signal.SIGKILL, -signal.SIGTERM)
