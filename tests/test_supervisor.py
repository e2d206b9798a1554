"""The parent of replicas, with scripted processes."""

import asyncio
import contextlib
import errno
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import structlog

from app import main, supervisor
from app.errors import EXIT_STARTUP
from app.supervisor import Supervisor

SPAWN = multiprocessing.get_context("spawn")


def wait_for_sigterm() -> None:
    """A replica."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    while True:
        signal.pause()


def ignore_sigterm(told: Path) -> None:
    """A replica that hangs, and says so."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    told.touch()
    while True:
        signal.pause()


class Started:
    """Starts processes that exit with these codes, or raises these errors, one after the other.

    The rest wait for SIGTERM.
    """

    def __init__(self, *codes: int | OSError) -> None:
        self.calls: list[tuple[int, bool]] = []
        self.processes: list[BaseProcess] = []
        self._codes = list(codes)

    def __call__(self, index: int, again: bool) -> BaseProcess:
        self.calls.append((index, again))
        ends = bool(self._codes)
        target: Any = sys.exit if ends else wait_for_sigterm
        code = self._codes.pop(0) if ends else None
        if isinstance(code, OSError):
            raise code
        process = SPAWN.Process(target=target, args=(code,) if ends else ())
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


async def test_a_replica_that_ends_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_PAUSES", (0.0,))
    started = Started(0, 1, EXIT_STARTUP)  # the last one is no first start, so others may still be well
    async with running(supervised(started, tmp_path)) as task:
        await until(lambda: len(started.calls) == 4)
        assert started.calls == [(0, False), (0, True), (0, True), (0, True)]
        assert not task.done()


async def test_a_reload_is_passed_on_and_does_not_end_the_supervision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_PAUSES", (0.0,))
    started = Started()  # its processes end with SIGHUP
    async with running(supervised(started, tmp_path)) as task:
        await until(lambda: started.processes)
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: len(started.processes) == 2)
        assert started.processes[0].exitcode == -signal.SIGHUP
        assert not task.done()


async def test_a_replica_that_the_system_cannot_start_again_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system may have no memory, processes or threads left for a while; other replicas serve on."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(supervisor, "_PAUSES", (0.0,))
    monkeypatch.setattr(threading.Thread, "start", refuse)
    refusal = BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
    started = Started(0, refusal, refusal)
    with structlog.testing.capture_logs() as logs:
        async with running(supervised(started, tmp_path)) as task:
            await until(lambda: len(started.calls) == 4)
            assert not task.done()
            assert started.processes[1].is_alive()
    assert [line.get("reason", "") for line in logs if "could not start" in line["event"]] == [str(refusal)] * 2


async def test_a_replica_that_the_system_cannot_start_at_first_ends_all(tmp_path: Path) -> None:
    started = Started(BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"))
    async with running(supervised(started, tmp_path, 2)) as task:
        assert await asyncio.wait_for(task, 60) == EXIT_STARTUP
    assert not any(process.is_alive() for process in started.processes)


@pytest.mark.parametrize(("steady", "pauses"), [(60.0, [0.01, 0.02, 0.02]), (0.0, [0.0, 0.0, 0.0])])
async def test_pauses_grow_with_consecutive_deaths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steady: float, pauses: list[float]
) -> None:
    monkeypatch.setattr(supervisor, "_PAUSES", (0.0, 0.01, 0.02))
    monkeypatch.setattr(supervisor, "_STEADY_SECONDS", steady)
    started = Started(1, 1, 1)
    with structlog.testing.capture_logs() as logs:
        async with running(supervised(started, tmp_path)):
            await until(lambda: len(started.calls) == 4)
    assert [line["seconds"] for line in logs] == pauses


async def test_a_replica_that_cannot_start_at_first_ends_all(tmp_path: Path) -> None:
    started = Started(EXIT_STARTUP)
    async with running(supervised(started, tmp_path, 2)) as task:
        assert await asyncio.wait_for(task, 60) == EXIT_STARTUP
    assert [process.is_alive() for process in started.processes] == [False, False]


async def test_a_replica_that_no_longer_answers_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


async def test_a_replica_whose_socket_was_removed_is_not_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clean-up program may remove the sockets of all replicas, which would otherwise all be killed at once."""
    monkeypatch.setattr(supervisor, "_PROBE_SECONDS", 0.02)
    asked = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()
        asked.set()

    started = Started()
    with structlog.testing.capture_logs() as logs:
        server = await asyncio.start_unix_server(answer, tmp_path / "0.sock")
        async with running(supervised(started, tmp_path)):
            await asked.wait()
            server.close()
            (tmp_path / "0.sock").unlink(missing_ok=True)
            await until(lambda: logs)
            assert started.processes[0].is_alive()
    assert "was removed" in logs[0]["event"]
    assert len(started.calls) == 1


async def test_a_replica_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_KILL_SECONDS", 0.0)
    told = tmp_path / "told"
    process = SPAWN.Process(target=ignore_sigterm, args=(told,))

    def start(index: int, again: bool) -> BaseProcess:
        process.start()
        return process

    async with running(Supervisor(1, start, lambda index: tmp_path / "none.sock", 0.0)) as task:
        await until(told.exists)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(task, 60)
    assert process.exitcode == -signal.SIGKILL


def test_a_reload_signals_the_parent_only_if_it_is_still_the_same_process(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *to: told.append(to))
    monkeypatch.setattr(os, "getppid", lambda: 1)
    main._reload_all(4321)
    assert told == []
    monkeypatch.setattr(os, "getppid", lambda: 4321)
    main._reload_all(4321)
    assert told == [(4321, signal.SIGHUP)]
