"""uvicorn with a graceful shutdown on SIGTERM, a reload on SIGHUP, and a parent whose end it notices."""

import asyncio
import contextlib
import math
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any

import structlog
import uvicorn

from app.api.acceptor import Acceptor
from app.api.access import Access
from app.errors import LapsrnError
from app.process import early_signals
from app.service.service import Service

LAST_SECONDS = 10.0
"""After the grace time: for a running batch, a picture that is being written, and the last responses."""


class DrainingServer(uvicorn.Server):
    """A server that shuts down gracefully.

    SIGTERM first makes only readiness fail: during the lame duck time requests are served as before, while load
    balancers notice. Then, or at once on SIGINT, the drain begins: admitted work is finished, and the port stays open,
    so that probes and late requests get a 503. The grace time sets one deadline for everything: work, uploads, and
    responses that are still being read. What is not done by then is answered with 503 or cut off, and the server ends
    at most 10 s later. A repeated SIGTERM has no effect, as supervisors may send it several times; a second SIGINT, or
    SIGQUIT, ends the grace time at once.
    """

    overdue = False
    """Whether something (such as a thread inside a driver) did not end even in those 10 s, and was abandoned."""

    def __init__(
        self,
        config: uvicorn.Config,
        service: Service,
        access: Access,
        guardian: int | None = None,
    ) -> None:
        """On SIGTERM, SIGINT and SIGQUIT `service` is drained; on SIGHUP `access` reloads keys, and `service` weights.

        `guardian` as in `run_server`.
        """
        super().__init__(config)
        self._guardian = guardian
        self._service = service
        self._access = access
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_at = 0.0
        self._leaving = self._interrupted = False
        self._hurry = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[Any] | None = None) -> None:
        """Starts the server, and listens for SIGHUP and SIGQUIT."""
        self._loop = asyncio.get_running_loop()
        with contextlib.suppress(AttributeError, NotImplementedError):  # Windows has neither
            self._loop.add_signal_handler(signal.SIGHUP, self._begin, self._reload)
            self._loop.add_signal_handler(signal.SIGQUIT, self.handle_exit, signal.SIGQUIT, None)
        if early_signals.reload_wanted():
            self._begin(self._reload)
        if self._guardian is None:
            await super().startup(sockets)
            return
        self._loop.add_reader(self._guardian, self._orphaned, self._guardian)
        await super().startup([])
        acceptors: list[Any] = [Acceptor(each, self._make_protocol) for each in sockets or ()]
        self.servers += acceptors

    def _make_protocol(self) -> asyncio.Protocol:
        make: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    def _orphaned(self, guardian: int) -> None:
        assert self._loop is not None
        self._loop.remove_reader(guardian)
        structlog.get_logger("lapsrn").error("the parent process is gone; stopping")
        self.handle_exit(signal.SIGTERM, None)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Starts, or hurries, the shutdown as the class describes."""
        if self._loop is None:  # still starting, with nothing to finish
            self.should_exit = self.force_exit = True
            return
        now = sig == getattr(signal, "SIGQUIT", None) or (sig == signal.SIGINT and self._interrupted)
        self._interrupted |= sig == signal.SIGINT
        if now:
            self.force_exit = self.should_exit
            self._stop_at = time.monotonic()
            self._service.phase = "draining"
            self.should_exit = True
        elif not self._leaving:
            self._leaving = True
            self._loop.call_soon_threadsafe(self._begin, self._leave)
        if now or sig == signal.SIGINT:
            self._loop.call_soon_threadsafe(self._hurry.set)

    async def on_tick(self, counter: int) -> bool:
        """Ends the server if the network could not be loaded."""
        if self._service.phase == "failed":
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Fails work that was not done by the deadline, and closes connections and the application."""
        left = max(0.0, self._stop_at - time.monotonic())
        if self._service.jobs.under_way:
            self._begin(self._give_up)
        self.config.timeout_graceful_shutdown = max(1, math.ceil(left))
        try:
            async with asyncio.timeout(left + LAST_SECONDS):
                await super().shutdown(sockets)
        except TimeoutError:
            self.overdue = True
            structlog.get_logger("lapsrn").error("something did not end in time and is abandoned")

    def _begin(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = asyncio.create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _leave(self) -> None:
        """Waits for the lame duck time, drains, and exits."""
        service, log = self._service, structlog.get_logger("lapsrn")
        seconds = service.settings.lame_duck_seconds
        if service.phase == "ready" and seconds and not self._hurry.is_set():
            service.phase = "leaving"
            log.info("leaving; still serving", seconds=seconds)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), seconds)
        if self.should_exit:
            return
        service.phase = "draining"
        self._stop_at = time.monotonic() + service.settings.grace_seconds
        log.info("draining", under_way=service.jobs.under_way)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(service.settings.grace_seconds):
                await service.drain()
        self.should_exit = True

    async def _give_up(self) -> None:
        structlog.get_logger("lapsrn").warning("the grace time is over", under_way=self._service.jobs.under_way)
        await self._service.engine.stop(0.0)

    async def _reload(self) -> None:
        log = structlog.get_logger("lapsrn")
        try:
            log.info("API keys read", count=await asyncio.to_thread(self._access.reload))
        except LapsrnError as error:
            log.error("API keys not changed", reason=str(error))
        try:
            engine = await self._service.reload()
        except LapsrnError as error:
            log.error("weights not swapped", reason=str(error))
            return
        log.info("weights swapped", sha256=engine.first.sha256)
