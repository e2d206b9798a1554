"""Runs the service's server, and servers of further applications on other sockets, such as the metrics port."""

import asyncio
import contextlib
import functools
import gc
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.api.bounds import ProtocolLimits
from app.api.connections import RESERVE, Connections, affordable_connections, most_of_one
from app.api.draining_server import DrainingServer
from app.api.protocol import BoundedProtocol
from app.api.turnstile import Turnstile
from app.errors import EXIT_STARTUP
from app.service.service import Service
from app.settings import Settings

SideApplication = tuple[FastAPI, socket.socket | Path]
"""An additional application, and its socket: one that listens, or the path of a Unix socket to create."""


def run_server(
    app: FastAPI,
    listener: socket.socket,
    side_applications: Sequence[SideApplication] = (),
    guardian: int | None = None,
) -> int:
    """Serves on `listener` until a signal. Returns the exit code: 0, or EXIT_STARTUP if the network cannot be loaded.

    `side_applications` end last. When the descriptor `guardian` becomes readable, the parent process has died, which
    has the effect of SIGTERM.
    """
    service: Service = app.state.service
    settings = service.settings
    config = uvicorn.Config(
        app,
        http=bounded_protocol(settings, _connections(app, service)),
        log_config=None,
        access_log=False,
        proxy_headers=True,
        forwarded_allow_ips=settings.forwarded_allow_ips,
        server_header=False,
        timeout_keep_alive=settings.keep_alive_seconds,
        ws="none",
        workers=1,
    )
    server = DrainingServer(config, service, app.state.access, guardian)
    sides = [_side_server(*each, settings) for each in side_applications]
    runner = asyncio.Runner(loop_factory=config.get_loop_factory())
    gc.freeze()  # all this lives as long as the process, and looking through it would block the event loop for 60 ms
    try:
        runner.run(_serve_all(server, listener, sides))
    finally:
        if not server.overdue:  # otherwise it would wait for the abandoned thread
            runner.close()
    return EXIT_STARTUP if service.phase == "failed" else 0


def bounded_protocol(settings: Settings, connections: Connections) -> Any:
    """The protocol with the limits in the settings, in the form that uvicorn.Config expects."""
    return functools.partial(
        BoundedProtocol, limits=ProtocolLimits.of(settings), connections=connections, turnstile=Turnstile()
    )


def _connections(app: Any, service: Service) -> Connections:
    """The connections of the service's port."""
    settings = service.settings
    limit = affordable_connections(settings.max_connections)
    if limit < settings.max_connections:
        structlog.get_logger("lapsrn").warning(
            "fewer connections than LAPSRN_MAX_CONNECTIONS; raise the limit on open files", connections=limit
        )
    proxies = ProxyHeadersMiddleware(app, settings.forwarded_allow_ips).trusted_hosts
    return Connections(
        limit,
        most_of_one(settings.client_max_connections, limit),
        proxies.__contains__,
        service.metrics,
        leaving=lambda: service.phase in ("leaving", "draining"),
    )


def _side_server(app: FastAPI, place: socket.socket | Path, settings: Settings) -> "_SideServer":
    """An additional server, for a few connections."""
    config = uvicorn.Config(
        app,
        http=bounded_protocol(settings, Connections(RESERVE, RESERVE)),
        uds=str(place) if isinstance(place, Path) else None,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=settings.keep_alive_seconds,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=1,
    )
    return _SideServer(config, None if isinstance(place, Path) else [place])


async def _serve_all(server: DrainingServer, listener: socket.socket, sides: Sequence["_SideServer"]) -> None:
    """Runs the service's server and the additional ones, which end last."""
    host, port = listener.getsockname()[:2]
    structlog.get_logger("lapsrn").info("listening", host=host, port=port)
    running = [asyncio.create_task(side.serve()) for side in sides]
    await server.serve([listener])
    for side in sides:
        side.should_exit = True
    await asyncio.gather(*running)


class _SideServer(uvicorn.Server):
    """A server that leaves signals to the main one."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket] | None) -> None:
        """Listens on `sockets`, or on the address in `config`."""
        super().__init__(config)
        self._sockets = sockets

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serves until `should_exit`."""
        await super().serve(sockets or self._sockets)

    def capture_signals(self) -> Any:
        """Captures none."""
        return contextlib.nullcontext()
