"""Serves: makes the application and runs it until a signal ends it; nothing happens at import."""

import contextlib
import os
import socket
import sys
from collections.abc import Sequence
from typing import NoReturn

import structlog
from fastapi import FastAPI

from app import logging
from app.api.access import Access
from app.api.application import build_application, build_metrics_application
from app.api.server import listen, run_server
from app.build import build_service, package_version
from app.engine import ModelFactory
from app.errors import StartupError
from app.settings import Settings, load_settings, unknown_settings
from app.web import STATIC


def create_app(settings: Settings, models: Sequence[ModelFactory] | None = None) -> FastAPI:
    """The application, ready for an ASGI server; its lifespan starts and stops the service.

    `models` has one factory per worker; None is the real networks, from the settings' weights. Raises StartupError.
    """
    access = Access(settings.keys_now, settings.client_max_concurrent, settings.client_requests_per_minute)
    return build_application(build_service(settings, models), access, package_version(), STATIC)


def serve(settings: Settings | None = None, models: Sequence[ModelFactory] | None = None) -> int:
    """`lapsrn serve`: runs until a signal ends it; the exit code. Raises StartupError before it listens.

    `models` as in `create_app`.
    """
    settings = settings or load_settings()
    logging.configure(settings.log_level, settings.log_format)
    for name in unknown_settings(os.environ):
        structlog.get_logger("lapsrn").warning("not a setting; see docs/configuration.md", variable=name)
    listener = listen(settings.host, settings.port)
    _tell_address(listener)
    if settings.metrics_port is None:
        return run_server(create_app(settings, models), listener, None, None)
    metrics_listener = listen(settings.host, settings.metrics_port)
    app = create_app(settings, models)
    return run_server(app, listener, build_metrics_application(app.state.service), metrics_listener)


def _tell_address(listener: socket.socket) -> None:
    """On a terminal, where to point a browser."""
    if sys.stdout.isatty():
        host, port = listener.getsockname()[:2]
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        shown = f"[{host}]" if ":" in host else host
        print(f"LapSRN is starting on http://{shown}:{port}; Ctrl-C stops it", flush=True)


def main() -> NoReturn:
    """`python -m app.main`: as `serve`, with one line on standard error if it cannot start."""
    try:
        code = serve()
    except StartupError as error:
        print(f"lapsrn: {error}", file=sys.stderr)
        code = 2
    leave(code)


def leave(code: int) -> NoReturn:
    """Ends the process, even where a thread hangs in a device driver and would turn the exit into an abort."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # a full disk costs log lines, not the exit code
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
