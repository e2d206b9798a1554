"""Builds the application and runs the server until a signal ends it; importing does nothing."""

import asyncio
import errno
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import structlog

from app import logging
from app.assembly import build_service, replica_count, settings_of_replica
from app.build import package_version
from app.engine import ModelFactory
from app.errors import EXIT_STARTUP, StartupError
from app.process import cpu, early_signals, open_files
from app.process.early_signals import leave
from app.process.standard_streams import open_closed
from app.settings import Settings, load_settings, unknown_settings
from app.web import STATIC

if TYPE_CHECKING:
    from fastapi import FastAPI

    from app.api.replicas import Replicas
    from app.api.server import SideApplication


def create_app(
    settings: Settings, models: Sequence[ModelFactory] | None = None, *, start_decoders: bool = False
) -> "FastAPI":
    """The application, ready for an ASGI server; its lifespan starts and stops the service.

    `models` has one factory per worker; None loads the networks from the settings' weights. With `start_decoders` the
    first decoder process is started before the lifespan, which must then follow. Raises StartupError.
    """
    service = build_service(settings, models)
    if start_decoders:
        service.start_decoders()
    from app.api.access import Access  # imported late: a decoder process warms up meanwhile
    from app.api.application import build_application

    access = Access(settings.keys_now, settings.client_max_concurrent, settings.client_requests_per_minute)
    return build_application(service, access, package_version(), STATIC)


def serve(settings: Settings | None = None, models: Sequence[ModelFactory] | None = None) -> int:
    """`lapsrn serve`: runs until a signal, and returns the exit code. Raises StartupError if it cannot start.

    `models` are those of `create_app`; with replicas they are pickled.
    """
    settings = settings or load_settings()
    logging.configure(settings.log_level, settings.log_format)
    _ensure_working_directory()
    open_files.require()
    _check_support(settings)
    for name in unknown_settings(os.environ):
        structlog.get_logger("lapsrn").warning("not a setting; see docs/configuration.md", variable=name)
    listener = listen(settings.host, settings.port)
    metrics_listener = None
    if settings.metrics_port is not None:
        metrics_listener = listen(settings.host, settings.metrics_port, "LAPSRN_METRICS_PORT")
    _print_address(listener)
    count = replica_count(settings)
    if count > 1 and not hasattr(socket, "AF_UNIX"):
        raise StartupError(f"LAPSRN_REPLICAS={count}: this system has no Unix sockets, which replicas need; set 1")
    if count > 1:
        return _serve_replicas(count, settings, models, listener, metrics_listener)
    app = create_app(settings, models, start_decoders=True)
    from app.api.server import run_server

    return run_server(app, listener, _metrics_application(app, metrics_listener))


def _check_support(settings: Settings) -> None:
    """Raises StartupError for a setting that this installation or system does not support."""
    if settings.tracing and find_spec("opentelemetry.sdk") is None:
        raise StartupError("LAPSRN_TRACING: spans need packages that are not installed; install lapsrn[tracing]")
    if settings.pin_replicas and not cpu.CAN_PIN:
        raise StartupError("LAPSRN_PIN_REPLICAS: this system cannot keep a process to some cores; leave it out")


def listen(host: str, port: int, variable: str = "LAPSRN_PORT or --port") -> socket.socket:
    """A socket that listens on `host`. Raises a one-line StartupError that names the `variable` for the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, UnicodeError) as error:
        number = getattr(error, "errno", None)
        if number == errno.EADDRINUSE:
            reason = f"something listens there already; stop it, or choose another port with {variable}"
        elif number == errno.EACCES:
            reason = f"this user may not; choose a port from 1024 on with {variable}"
        else:
            reason = f"{error}; set LAPSRN_HOST or --host to an address of this machine, such as 127.0.0.1"
        raise StartupError(f"cannot listen on {host} port {port}: {reason}") from None


def _metrics_application(app: "FastAPI", listener: socket.socket | None) -> list["SideApplication"]:
    """The application for LAPSRN_METRICS_PORT with its socket; [] without a listener."""
    from app.api.application import build_metrics_application

    return [] if listener is None else [(build_metrics_application(app.state.service, app.state.scrape), listener)]


def _serve_replicas(
    count: int,
    settings: Settings,
    models: Sequence[ModelFactory] | None,
    listener: socket.socket,
    metrics_listener: socket.socket | None,
) -> int:
    """Runs as the parent of `count` processes that serve on the same sockets."""
    from app.api.draining_server import LAST_SECONDS
    from app.api.replicas import Replicas  # imports httpx, which only replicas need
    from app.supervisor import Supervisor

    share = settings_of_replica(settings, count)
    spawn = multiprocessing.get_context("spawn")
    with _folder_for_sockets() as folder:
        replicas = Replicas(folder, count)

        def start(index: int, again: bool) -> BaseProcess:
            _ensure_working_directory()
            folder.mkdir(mode=0o700, exist_ok=True)
            replicas.socket(index).unlink(missing_ok=True)
            process = spawn.Process(
                target=_replica,
                args=(index, again, replicas, share, models, listener, metrics_listener),
                name=f"replica-{index}",
            )
            with early_signals.held_back():
                process.start()
            return process

        stop_seconds = settings.lame_duck_seconds + settings.grace_seconds + LAST_SECONDS
        return asyncio.run(Supervisor(count, start, replicas.socket, stop_seconds).run())


@contextmanager
def _folder_for_sockets() -> Iterator[Path]:
    """A temporary folder for the replicas' sockets. Raises StartupError if it cannot be created or used."""
    with ExitStack() as stack:
        try:
            folder = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="lapsrn-", ignore_cleanup_errors=True))
            )
            with socket.socket(socket.AF_UNIX) as trial:
                trial.bind(str(folder / "trial.sock"))  # fails if the path is too long
        except OSError as error:
            raise StartupError(f"replicas need a folder for their sockets ({error}); name one in TMPDIR") from None
        yield folder


def _replica(
    index: int,
    again: bool,
    replicas: "Replicas",
    settings: Settings,
    models: Sequence[ModelFactory] | None,
    listener: socket.socket,
    metrics_listener: socket.socket | None,
) -> NoReturn:
    """The main function of a replica; `again` if it replaces one that has ended."""
    from app.api.application import build_metrics_application
    from app.api.replicas import ScrapeOfAll
    from app.api.scrape import SharedScrape
    from app.api.server import run_server

    early_signals.listen()
    os.setpgrp()  # signals of a terminal reach the parent, which passes them on
    logging.configure(settings.log_level, settings.log_format, replica=index)
    if settings.pin_replicas:
        cpu.pin(index, replicas.count)
    try:
        app = create_app(settings, models)
    except StartupError as error:
        if again or _is_first_refusal(replicas):
            print(f"lapsrn: {error}", file=sys.stderr)
        leave(EXIT_STARTUP)
    app.state.hold = again
    app.state.scrape = SharedScrape(ScrapeOfAll(replicas, index, app.state.service))
    own = build_metrics_application(app.state.service), replicas.socket(index)
    parent = multiprocessing.parent_process()
    assert parent is not None and parent.pid is not None
    app.state.reloaded = partial(_reload_all, parent.pid)
    code = run_server(app, listener, [own, *_metrics_application(app, metrics_listener)], int(parent.sentinel))
    if os.getppid() != parent.pid:  # it was killed, and removes nothing
        shutil.rmtree(replicas.folder, ignore_errors=True)
    leave(code)


def _is_first_refusal(replicas: "Replicas") -> bool:
    """Whether no other replica has reported why it cannot start: the reason is the same for all."""
    try:
        (replicas.folder / "refused").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _reload_all(parent: int) -> None:
    """Has the parent reload all replicas, if it still exists: otherwise this process's parent may be init."""
    if os.getppid() == parent:
        os.kill(parent, signal.SIGHUP)


def _ensure_working_directory() -> None:
    """Changes to the root if the working directory was deleted, as no process can be started in a deleted one."""
    try:
        Path.cwd()
    except FileNotFoundError:
        os.chdir("/")


def _print_address(listener: socket.socket) -> None:
    """On a terminal, prints the address for a browser."""
    if sys.stdout.isatty():
        host, port = listener.getsockname()[:2]
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        shown = f"[{host}]" if ":" in host else host
        print(f"LapSRN is starting on http://{shown}:{port}; Ctrl-C stops it", flush=True)


def _open_standard_streams() -> None:
    """If they are closed, redirects them to the null device, so that output does not go to the next opened socket."""
    open_closed()
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")


def main() -> NoReturn:
    """`python -m app.main`: `serve`, with one line on standard error if it cannot start."""
    _open_standard_streams()
    early_signals.listen()
    try:
        code = serve()
    except StartupError as error:
        print(f"lapsrn: {error}", file=sys.stderr)
        code = EXIT_STARTUP
    leave(code)


if __name__ == "__main__":
    main()
