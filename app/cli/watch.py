"""`lapsrn watch`: enlarges the pictures in a folder, and those that arrive later, until interrupted."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from dataclasses import replace
from pathlib import Path

from app.cli import conditions, files, names
from app.cli.arrivals import Arrival, Arrivals
from app.cli.backends import Place, open_backend
from app.cli.batch import Backend, Outcome, one
from app.cli.inputs import PlanError
from app.cli.ledger import Ledger
from app.cli.report import JsonReport, TextReport
from app.errors import StartupError
from app.formats import DEFAULT_FORMAT, OUTPUT_FORMATS
from app.options import UpscaleOptions

LOOK_SECONDS = 5.0
"""Maximum interval between two scans: network file systems do not report changes made elsewhere."""
_LISTENING_MS = 500
"""Time until the system reports changes; another scan then finds what was missed meanwhile."""
MAX_PAUSE_SECONDS = 60.0
"""Maximum pause between attempts while the service is unreachable; the first pause is one second."""


def watch(
    folder: Path,
    output: Path,
    options: UpscaleOptions,
    level: int | None,
    place: Place,
    *,
    settle: float,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    name: str | None = None,
    typed: Collection[str] = (),
) -> int:
    """Runs until interrupted. The parameters are those of `upscale`; `settle` is in seconds.

    Raises PlanError, StartupError and KeyboardInterrupt.
    """
    conditions.check_place(place, typed)
    conditions.check_size(options)
    if level is not None:
        conditions.check_level(level, options)
    form = options.format or DEFAULT_FORMAT
    conditions.check_format(options, form)
    template = names.template(name, options, level)
    _check_folders(folder, output)
    report = JsonReport() if as_json else TextReport(None, quiet=quiet)
    try:
        ledger = Ledger(output)
        ledger.compact()
        suffix = OUTPUT_FORMATS[form].suffixes[0]
        arrivals = Arrivals(folder, output, suffix, template, ledger, settle, overwrite=overwrite)
        with report:
            asyncio.run(_run(folder, arrivals, replace(options, format=form), level, place, report, settle))
    except OSError as error:
        raise StartupError(f"{error.filename or 'the report'}: {files.reason(error)}") from None
    raise AssertionError("watching ends only by an exception")


def _check_folders(folder: Path, output: Path) -> None:
    """Raises PlanError."""
    if not files.is_folder(folder):
        raise PlanError(f"{folder} is not a folder: make it first, or name another.")
    source, target = folder.resolve(), output.resolve()
    if source.is_relative_to(target):
        raise PlanError(f"-o {output} is or holds the folder that is watched: results would be taken for pictures.")
    if problem := files.unwritable(output, folder=True):
        raise PlanError(f"-o {output} cannot be written: {problem}.")


async def _run(
    folder: Path,
    arrivals: Arrivals,
    options: UpscaleOptions,
    level: int | None,
    place: Place,
    report: JsonReport | TextReport,
    settle: float,
) -> None:
    async with open_backend(place, options, level, report.loading) as backend:
        await Watch(arrivals, backend, report).run(_changes(folder, arrivals, settle))


class Watch:
    """Upscales arriving pictures through a backend, several at once."""

    def __init__(self, arrivals: Arrivals, backend: Backend, report: JsonReport | TextReport) -> None:
        """Borrows everything."""
        self._arrivals, self._backend, self._report = arrivals, backend, report
        self._waiting: asyncio.Queue[Arrival] = asyncio.Queue()
        self._pause = 0.0

    async def run(self, changes: AsyncIterator[object]) -> None:
        """Scans the folder at the beginning and after each of the `changes`. Raises OSError."""
        try:
            async with asyncio.TaskGroup() as group:
                takers = [group.create_task(self._take()) for _ in range(self._backend.at_once)]
                self._look()
                async for _ in changes:
                    self._look()
                for taker in takers:
                    taker.cancel()
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    def _look(self) -> None:
        for found in self._arrivals.look(time.monotonic()):
            if isinstance(found, Arrival):
                self._waiting.put_nowait(found)
            else:
                self._report.end(*found)

    async def _take(self) -> None:
        while True:
            arrival = await self._waiting.get()
            outcome = await one(arrival.work, self._backend, self._report, objection=arrival.changed)
            if outcome.passing:
                await self._wait(arrival, outcome)
                continue
            self._pause = 0.0
            self._report.end(arrival.work, self._arrivals.ended(arrival, outcome, time.monotonic()))

    async def _wait(self, arrival: Arrival, outcome: Outcome) -> None:
        """Waits for a service that is unreachable or busy, which is reported once."""
        if not self._pause:
            self._report.end(arrival.work, Outcome("waiting", error=outcome.error, type=outcome.type))
        self._pause = min(max(1.0, 2 * self._pause), MAX_PAUSE_SECONDS)
        await asyncio.sleep(self._pause)
        self._waiting.put_nowait(arrival)


async def _changes(folder: Path, arrivals: Arrivals, settle: float) -> AsyncGenerator[object, None]:
    """Yields when something may have changed: the system reports it, files were incomplete, or LOOK_SECONDS passed."""
    from watchfiles import awatch

    changed = asyncio.Event()

    async def listen() -> None:
        # If the system has no more watches, or the folder is gone, the periodic scans remain.
        with contextlib.suppress(Exception):
            listening = False
            async for changes in awatch(
                folder,
                watch_filter=None,
                debounce=100,
                rust_timeout=_LISTENING_MS,
                yield_on_timeout=True,
                ignore_permission_denied=True,
            ):
                if changes or not listening:  # the first time, for what arrived since the last scan
                    changed.set()
                listening = True

    listener, place = asyncio.create_task(listen()), _place(folder)
    try:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(settle, LOOK_SECONDS) if arrivals.unsettled else LOOK_SECONDS):
                    await changed.wait()
            changed.clear()
            if place != (place := _place(folder)):  # the folder was replaced, and the new one is not watched yet
                listener.cancel()
                listener = asyncio.create_task(listen())
            yield None
    finally:
        listener.cancel()


def _place(folder: Path) -> tuple[int, int] | None:
    """Identifies the folder that is currently at this path; None if there is none."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
