"""A real server on loopback, in a thread, for an ASGI application."""

import logging
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import structlog
import uvicorn

from app.api.connections import Connections
from app.api.server import bounded_protocol
from app.main import create_app
from app.service.service import Service
from app.settings import Settings
from tests.fakes import Build, FakeModel, results_as_planes_say, worker


@contextmanager
def listening(app: Any, **config: Any) -> Iterator[str]:
    """The address of a server of `app`, which has started and is stopped afterwards; `config` is uvicorn's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=5, **config))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            until = time.monotonic() + 30
            while not server.started and thread.is_alive() and time.monotonic() < until:
                time.sleep(0.01)
            assert server.started, "the server did not start"
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def service(models: Sequence[Build] = (FakeModel,), **settings: Any) -> Iterator[tuple[str, Service]]:
    """The application on fake networks, ready; keyword arguments are settings. It logs errors only."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    try:
        configured = Settings(**settings)
        with results_as_planes_say():
            app = create_app(configured, [worker(build) for build in models])
        protocol = bounded_protocol(configured, Connections(1000, 1000, metrics=app.state.service.metrics))
        with listening(app, http=protocol, ws="none", timeout_keep_alive=configured.keep_alive_seconds) as url:
            until = time.monotonic() + 30
            while httpx.get(f"{url}/readyz").status_code != 200:
                assert time.monotonic() < until, "the service did not become ready"
                time.sleep(0.02)
            yield url, app.state.service
    finally:
        structlog.reset_defaults()
