"""`lapsrn upscale`: from what was typed to an exit code."""

import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from app.cli.batch import Backend, Outcome, run
from app.cli.inputs import PlanError, Work, plan
from app.cli.report import JsonReport, PeopleReport
from app.options import UpscaleOptions


@dataclass(frozen=True, slots=True)
class Place:
    """Where it is done: by the service at `server`, or here with these weights on this device."""

    server: str | None = None
    api_key: str = ""
    at_once: int | None = None
    weights: Path | None = None
    device: str | None = None


def upscale(
    arguments: Sequence[str],
    output: str,
    options: UpscaleOptions,
    level: int,
    place: Place,
    *,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """0 when every picture is there, else 1. `level` is the one of the pass that is wanted.

    Raises PlanError, StartupError, KeyboardInterrupt.
    """
    if level > options.scale:
        raise PlanError(f"--level {level} is more than --scale {options.scale}: a pass has the levels up to its scale.")
    if as_json and output == "-":
        raise PlanError("--json and -o - both want standard output: choose one.")
    if "-" in arguments and sys.stdin.isatty():
        raise PlanError("'-' reads a picture from standard input, and that is a terminal.")
    if output == "-" and sys.stdout.isatty():
        raise PlanError("-o - writes a picture to standard output, and that is a terminal.")
    works, form = plan(arguments, output, options.format)
    options = replace(options, format=form)
    report = JsonReport() if as_json else PeopleReport(len(works), quiet=quiet)
    began = time.monotonic()
    stdin = sys.stdin.buffer.read() if any(work.source is None and not work.problem for work in works) else b""
    try:
        with report:
            outcomes = asyncio.run(_run(works, options, level, place, report, overwrite, stdin))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    report.summary(outcomes, time.monotonic() - began)
    return int(any(outcome.status == "failed" for outcome in outcomes))


async def _run(
    works: Sequence[Work],
    options: UpscaleOptions,
    level: int,
    place: Place,
    report: JsonReport | PeopleReport,
    overwrite: bool,
    stdin: bytes,
) -> list[Outcome]:
    task = asyncio.current_task()
    if task is not None:  # SIGTERM ends it as Ctrl-C does: cleanly
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    backend = await (_remote(options, level, place, place.server) if place.server else _local(options, level, place))
    try:
        return await run(works, backend, report, overwrite=overwrite, stdin=stdin)
    finally:
        await backend.close()


async def _remote(options: UpscaleOptions, level: int, place: Place, server: str) -> Backend:
    from app.cli.remote import RemoteBackend
    from app.client import Options

    asked = {name: value for name, value in asdict(options).items() if name != "scale" and value is not False}
    return RemoteBackend(server, options.scale, level, Options(**asked), place.api_key, place.at_once or 4)


async def _local(options: UpscaleOptions, level: int, place: Place) -> Backend:
    from app.cli.local import LocalBackend, local_settings

    backend = LocalBackend(local_settings(place.weights, place.device), options, level)
    await backend.start()
    return backend
