"""`lapsrn upscale`: from what was typed to an exit code."""

import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from app.cli.batch import Backend, Outcome, run
from app.cli.inputs import Format, PlanError, Work, plan
from app.cli.report import JsonReport, PeopleReport


@dataclass(frozen=True, slots=True)
class Wish:
    """What the results shall be."""

    scale: int
    level: int
    format: Format | None = None
    quality: int | None = None
    frames: Literal["single", "first", "all"] = "single"
    metadata: Literal["drop", "keep", "all"] = "drop"
    color: Literal["keep", "srgb"] = "keep"
    depth: Literal["keep", "8"] = "keep"
    truncated: Literal["reject", "allow"] = "reject"
    ensemble: bool = False
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where it is done: by the service at `server`, or here with these weights on this device."""

    server: str | None = None
    api_key: str = ""
    at_once: int | None = None
    weights: Path | None = None
    device: str | None = None


def upscale(
    arguments: Sequence[str], output: str, wish: Wish, place: Place, *, overwrite: bool, as_json: bool, quiet: bool
) -> int:
    """0 when every picture is there, else 1. Raises PlanError, StartupError, KeyboardInterrupt."""
    if wish.level > wish.scale:
        raise PlanError(
            f"--level {wish.level} is more than --scale {wish.scale}: a pass has the levels up to its scale."
        )
    if as_json and output == "-":
        raise PlanError("--json and -o - both want standard output: choose one.")
    if "-" in arguments and sys.stdin.isatty():
        raise PlanError("'-' reads a picture from standard input, and that is a terminal.")
    if output == "-" and sys.stdout.isatty():
        raise PlanError("-o - writes a picture to standard output, and that is a terminal.")
    works, wanted = plan(arguments, output, wish.format)
    report = JsonReport() if as_json else PeopleReport(len(works), quiet=quiet)
    began = time.monotonic()
    stdin = sys.stdin.buffer.read() if any(work.source is None and not work.problem for work in works) else b""
    try:
        with report:
            outcomes = asyncio.run(_run(works, replace(wish, format=wanted), place, report, overwrite, stdin))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    report.summary(outcomes, time.monotonic() - began)
    return int(any(outcome.status == "failed" for outcome in outcomes))


async def _run(
    works: Sequence[Work],
    wish: Wish,
    place: Place,
    report: JsonReport | PeopleReport,
    overwrite: bool,
    stdin: bytes,
) -> list[Outcome]:
    task = asyncio.current_task()
    if task is not None:  # SIGTERM ends it as Ctrl-C does: cleanly
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    backend = await (_remote(wish, place, place.server) if place.server else _local(wish, place))
    try:
        return await run(works, backend, report, overwrite=overwrite, stdin=stdin)
    finally:
        await backend.close()


async def _remote(wish: Wish, place: Place, server: str) -> Backend:
    from app.cli.remote import RemoteBackend
    from app.client import Options

    options = Options(
        wish.format,
        wish.quality,
        None,
        wish.frames,
        wish.metadata,
        wish.color,
        wish.depth,
        wish.truncated,
        wish.ensemble or None,
        wish.model,
    )
    return RemoteBackend(server, wish.scale, wish.level, options, place.api_key, place.at_once or 4)


async def _local(wish: Wish, place: Place) -> Backend:
    from app.cli.local import LocalBackend, local_settings
    from app.codec import DecodeOptions, EncodeOptions

    decode = DecodeOptions(wish.scale, wish.frames, wish.truncated, wish.color, wish.metadata, wish.depth)
    encode = EncodeOptions(wish.format or "png", wish.quality)
    settings = local_settings(place.weights, place.device)
    backend = LocalBackend(settings, decode, encode, wish.level, model=wish.model, ensemble=wish.ensemble)
    await backend.start()
    return backend
