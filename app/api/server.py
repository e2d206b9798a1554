"""uvicorn with what operators need: header timeouts, drain on SIGTERM, reload on SIGHUP, a second port for metrics."""

import asyncio
import contextlib
import signal
import socket
from types import FrameType
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.service import Service
from app.errors import LapsrnError, StartupError

_EXIT_STARTUP = 2


class TimedProtocol(HttpToolsProtocol):
    """HTTP/1.1 whose clients must have sent their headers within `header_timeout` seconds.

    A client that was answered before it had sent its whole body has as long to finish it, and is then cut off.
    """

    header_timeout = 10.0
    _header_timer: asyncio.TimerHandle | None = None
    _rest_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the clock."""
        super().connection_made(transport)
        self._header_timer = self.loop.call_later(self.header_timeout, transport.close)

    def on_message_begin(self) -> None:
        """Starts it again for a later request on the same connection."""
        super().on_message_begin()
        if self._header_timer is None:
            self._header_timer = self.loop.call_later(self.header_timeout, self.transport.close)

    def on_headers_complete(self) -> None:
        """Stops it."""
        self._stop_timer()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Starts the clock for what is left of the body."""
        if self.cycle.more_body and not self.transport.is_closing():
            self._rest_timer = self.loop.call_later(self.header_timeout, self.transport.close)
        super().on_response_complete()

    def on_message_complete(self) -> None:
        """Stops it: the body has come to its end."""
        if self._rest_timer is not None:
            self._rest_timer.cancel()
            self._rest_timer = None
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the clocks."""
        self._stop_timer()
        if self._rest_timer is not None:
            self._rest_timer.cancel()
        super().connection_lost(exc)

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None


class DrainingServer(uvicorn.Server):
    """Keeps listening while admitted work is finished, so that probes and late comers get an honest 503."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        """`service` is drained on SIGTERM and SIGINT, and reloads its weights on SIGHUP."""
        super().__init__(config)
        self._service = service
        self._loop: asyncio.AbstractEventLoop | None = None
        self._drain: asyncio.Task[None] | None = None
        self._reloads: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[Any] | None = None) -> None:
        """Also listens for SIGHUP."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_signal_handler(signal.SIGHUP, self._begin_reload)
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains, the second one ends at once."""
        if self._loop is None or self.should_exit:
            self.should_exit = self.force_exit = True
            return
        if self._service.phase == "draining":
            self.should_exit = True
            return
        self._service.phase = "draining"
        self._loop.call_soon_threadsafe(self._begin_drain)

    async def on_tick(self, counter: int) -> bool:
        """Ends when the network could not be loaded."""
        if self._service.phase == "failed":
            self.should_exit = True
        return await super().on_tick(counter)

    def _begin_drain(self) -> None:
        self._drain = asyncio.create_task(self._drain_and_exit())

    async def _drain_and_exit(self) -> None:
        structlog.get_logger("lapsrn").info("draining", under_way=self._service.jobs.under_way)
        await self._service.drain()
        self.should_exit = True

    def _begin_reload(self) -> None:
        task = asyncio.create_task(self._reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload(self) -> None:
        log = structlog.get_logger("lapsrn")
        try:
            served = await self._service.reload()
        except LapsrnError as error:
            log.error("weights not swapped", reason=str(error))
            return
        log.info("weights swapped", sha256=served.details.get("sha256", ""))


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on `host`. Raises StartupError in one line."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise StartupError(f"cannot listen on {host} port {port}: {error}") from None


def run_server(
    app: FastAPI, listener: socket.socket, metrics_app: FastAPI | None, metrics_listener: socket.socket | None
) -> int:
    """Serves on `listener` until a signal ends it. The exit code: 0, or 2 when the network could not be loaded."""
    service: Service = app.state.service
    settings = service.settings
    protocol = type("Protocol", (TimedProtocol,), {"header_timeout": settings.header_timeout_seconds})
    config = uvicorn.Config(
        app,
        http=protocol,
        log_config=None,
        access_log=False,
        proxy_headers=True,
        forwarded_allow_ips=settings.forwarded_allow_ips,
        server_header=False,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=max(1, int(settings.grace_seconds)),
        ws="none",
        workers=1,
    )
    server = DrainingServer(config, service)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve_all(server, listener, metrics_app, metrics_listener))
    return _EXIT_STARTUP if service.phase == "failed" else 0


async def _serve_all(
    server: DrainingServer,
    listener: socket.socket,
    metrics_app: FastAPI | None,
    metrics_listener: socket.socket | None,
) -> None:
    """The service, and beside it the metrics port if there is one; that one ends last."""
    host, port = listener.getsockname()[:2]
    structlog.get_logger("lapsrn").info("listening", host=host, port=port)
    if metrics_app is None or metrics_listener is None:
        await server.serve([listener])
        return
    config = uvicorn.Config(
        metrics_app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=1,
    )
    side = _SideServer(config)
    beside = asyncio.create_task(side.serve([metrics_listener]))
    await server.serve([listener])
    side.should_exit = True
    await beside


class _SideServer(uvicorn.Server):
    """A server that leaves signals to the main one."""

    def capture_signals(self) -> Any:
        """None of them."""
        return contextlib.nullcontext()
