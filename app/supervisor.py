"""Supervises the replicas of the service on one socket: starts them, forwards signals, replaces dead or hung ones."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import httpx
import structlog

from app.errors import EXIT_STARTUP

_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
_PAUSES = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Delay in seconds before a replica is restarted, by its number of consecutive deaths."""
_STEADY_SECONDS = 60.0
"""A replica that lived longer than this resets the count."""
_PROBE_SECONDS = 5.0
_PROBES_FAILED = 3
"""A replica is killed after this many consecutive health checks without a response of 200."""
_KILL_SECONDS = 20.0
"""How far a replica may exceed its own deadlines before it is killed."""
_REAP_SECONDS = 0.01
"""How often a process that has closed its files is looked at until it has ended."""

Start = Callable[[int, bool], BaseProcess]
"""Starts the replica with this number; the second argument is whether it replaces an earlier one."""


class Supervisor:
    """The parent of the replicas.

    Signals are forwarded to all replicas, and this process ends once they have ended. A replica that ends by itself is
    restarted, and listens once it is warm; one whose health checks fail is killed first. If a replica cannot start
    (EXIT_STARTUP) initially, all are stopped, as the others could not start either.
    """

    def __init__(self, count: int, start: Start, sockets: Callable[[int], Path], stop_seconds: float) -> None:
        """`sockets` returns the path of each replica's own socket, on which it answers health checks.

        `stop_seconds` is how long a replica may take to end after a signal.
        """
        self._start = start
        self._sockets = sockets
        self._stop_seconds = stop_seconds
        self._running: dict[int, BaseProcess | None] = dict.fromkeys(range(count))
        self._stopping = asyncio.Event()
        self._code = 0
        self._log = structlog.get_logger("lapsrn")

    async def run(self) -> int:
        """Runs until all replicas have ended; returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in _PASSED_ON:
            loop.add_signal_handler(number, self._signalled, number)
        async with asyncio.TaskGroup() as tasks:
            for index in self._running:
                tasks.create_task(self._keep(index))
        return self._code

    def _signalled(self, number: signal.Signals) -> None:
        if number != signal.SIGHUP:
            self._stop(number)
        else:
            self._forward(number)

    def _stop(self, number: signal.Signals) -> None:
        self._stopping.set()
        self._forward(number)

    def _forward(self, number: signal.Signals) -> None:
        for process in self._running.values():
            if process is not None and process.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, number)

    async def _keep(self, index: int) -> None:
        """Keeps replica `index` running until all are stopped."""
        again, deaths = False, 0
        while not self._stopping.is_set():
            born = time.monotonic()
            try:
                process = self._running[index] = self._start(index, again)
            except OSError as error:  # no memory or processes left for it at the moment; the other replicas serve on
                self._log.error("the system could not start a replica", replica=index, reason=str(error))
                code = EXIT_STARTUP
            else:
                code = await self._outcome(index, process)
            self._running[index] = None
            if self._stopping.is_set():
                self._code = self._code or code
                return
            if code == EXIT_STARTUP and not again:
                self._code = code
                self._stop(signal.SIGTERM)
                return
            deaths = 0 if time.monotonic() - born > _STEADY_SECONDS else deaths + 1
            pause = _PAUSES[min(deaths, len(_PAUSES) - 1)]
            self._log.error("a replica ended and is started again", replica=index, exit_code=code, seconds=pause)
            again = True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _outcome(self, index: int, process: BaseProcess) -> int:
        """Waits until `process` has ended, by itself or killed; returns the exit code."""
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(process.sentinel, ended.set)
        watching = [asyncio.create_task(self._watch(index, process)), asyncio.create_task(self._insist(process))]
        try:
            await ended.wait()
            loop.remove_reader(process.sentinel)
            # Joined without a thread, as the system may refuse one.
            while process.exitcode is None:  # noqa: ASYNC110
                await asyncio.sleep(_REAP_SECONDS)
        finally:
            loop.remove_reader(process.sentinel)
            for task in watching:
                task.cancel()
        return process.exitcode

    async def _watch(self, index: int, process: BaseProcess) -> None:
        """Kills `process` after too many consecutive failed health checks, once the first one has succeeded."""
        transport = httpx.AsyncHTTPTransport(uds=str(self._sockets(index)))
        seen, failed = False, 0
        async with httpx.AsyncClient(transport=transport, base_url="http://replica", timeout=_PROBE_SECONDS) as client:
            while failed < _PROBES_FAILED:
                await asyncio.sleep(_PROBE_SECONDS)
                try:
                    well = (await client.get("/healthz")).status_code == 200
                except httpx.HTTPError:
                    well = False
                if seen and not self._sockets(index).exists():  # a clean-up of temporary files removes all
                    self._log.error("a replica's socket was removed; its health is not checked any more", replica=index)
                    return
                seen |= well
                failed = 0 if well or not seen else failed + 1
        self._log.error("a replica does not answer its health checks and is killed", replica=index)
        process.kill()

    async def _insist(self, process: BaseProcess) -> None:
        """Kills `process` if it has not ended long after its deadline."""
        await self._stopping.wait()
        await asyncio.sleep(self._stop_seconds + _KILL_SECONDS)
        process.kill()
