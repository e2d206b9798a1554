"""The command `lapsrn upscale`."""

import asyncio
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from app.cli import conditions, files, names
from app.cli.backends import Place, open_backend
from app.cli.batch import Outcome, run, settle
from app.cli.inputs import PlanError, Work, plan
from app.cli.report import JsonReport, TextReport
from app.errors import StartupError
from app.options import UpscaleOptions


def upscale(
    arguments: Sequence[str],
    output: str,
    options: UpscaleOptions,
    level: int | None,
    place: Place,
    *,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    name: str | None = None,
    typed: Collection[str] = (),
) -> int:
    """Returns 0 if all results exist, otherwise 1. `level` is a smaller level of the pass, None the largest.

    `name` is a template for the names of results; `typed` holds the names of the parameters that were given on the
    command line. Raises PlanError, StartupError and KeyboardInterrupt.
    """
    conditions.check_place(place, typed)
    conditions.check_size(options)
    if level is not None:
        conditions.check_level(level, options)
    _check_streams(arguments, output, overwrite=overwrite, as_json=as_json)
    works, form = plan(arguments, output, options.format, names.template(name, options, level))
    if name is not None and any(work.target in (None, Path(output)) for work in works):
        raise PlanError(f"--name is for results in a folder, and -o {output} is not a folder: leave it out.")
    conditions.check_format(options, form)
    options = replace(options, format=form)
    report = JsonReport() if as_json else TextReport(len(works), quiet=quiet)
    began = time.monotonic()
    try:
        with report:
            outcomes = settle(works, report, overwrite=overwrite)
            waiting = [work for work in works if work not in outcomes]
            if waiting:
                _check_writable(output, waiting)
                outcomes |= asyncio.run(_run(waiting, options, level, place, report))
        ended = [outcomes[work] for work in works]
        report.summary(ended, time.monotonic() - began)
    except OSError as error:  # raised only by reports; errors of pictures are outcomes
        raise StartupError(f"the report cannot be written: {files.reason(error)}") from None
    return int(any(outcome.status == "failed" for outcome in ended))


def _check_streams(arguments: Sequence[str], output: str, *, overwrite: bool, as_json: bool) -> None:
    """Raises PlanError if standard input or output cannot be used as asked."""
    if output == "-":
        if as_json:
            raise PlanError("--json and -o - both want standard output: choose one.")
        if overwrite:
            raise PlanError("--overwrite is for results in files, and -o - writes to standard output: leave it out.")
        if sys.stdout is None or sys.stdout.isatty():
            problem = "closed" if sys.stdout is None else "a terminal"
            raise PlanError(
                f"-o - writes a picture to standard output, which is {problem}: redirect it, or name a file."
            )
    if "-" in arguments and (sys.stdin is None or sys.stdin.isatty()):
        problem = "closed" if sys.stdin is None else "a terminal"
        raise PlanError(f"- reads a picture from standard input, which is {problem}: pipe one in, or name a file.")


def _check_writable(output: str, works: Sequence[Work]) -> None:
    """Raises PlanError if no result could be written."""
    if output == "-":
        return
    reason = files.unwritable(Path(output), folder=works[0].target != Path(output))
    if reason:
        raise PlanError(f"-o {output} cannot be written: {reason}.")


async def _run(
    works: Sequence[Work], options: UpscaleOptions, level: int | None, place: Place, report: JsonReport | TextReport
) -> Mapping[Work, Outcome]:
    stdin = _standard_input() if any(work.source is None for work in works) else b""
    async with open_backend(place, options, level, report.loading) as backend:
        return await run(works, backend, report, stdin=stdin)


def _standard_input() -> bytes:
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise StartupError(f"standard input cannot be read: {files.reason(error)}") from None
