"""Upscales a list of pictures through a backend, several at once; a bad picture does not stop the others."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from app.cli import files
from app.cli.inputs import Work
from app.cli.wording import as_flags

Status = Literal["done", "skipped", "failed", "ignored", "waiting"]
"""ignored: not a picture; waiting: to be tried again. Both occur only when watching a folder."""
Progress = Callable[[int, int], None]


class PictureError(Exception):
    """This picture cannot be upscaled; `type` is the problem's type, as in the service's responses."""

    def __init__(self, message: str, type: str = "", *, passing: bool = False) -> None:
        """`message` is for users; it may name options in the form of request parameters.

        `passing`: the error is temporary and not caused by the picture, such as an unreachable or busy service.
        """
        super().__init__(message)
        self.type, self.passing = type, passing


@dataclass(frozen=True, slots=True)
class Result:
    """The result's file; the clean-up strength with its reason, such as "0.5; jpeg=90"; and the metadata left out.

    The last is as in X-Upscale-Metadata, such as "exif dropped (unreadable)". `truncated`: a part of the source was
    missing.
    """

    body: bytes
    clean: str = ""
    left_out: str = ""
    truncated: bool = False


class Backend(Protocol):
    """Where pictures are upscaled: on this machine, or by a service."""

    at_once: int
    """How many pictures should be in progress at the same time."""

    async def upscale(self, data: bytes, progress: Progress | None) -> Result:
        """The result for the file of a picture. Raises PictureError."""

    async def close(self) -> None:
        """Releases everything; pictures in progress are abandoned."""


class Report(Protocol):
    """Shows how a run goes."""

    def loading(self) -> None:
        """The network is being loaded, which takes seconds."""

    def begin(self, work: Work) -> Progress | None:
        """A picture is started; the returned function, if any, is called with (tiles done, all tiles)."""

    def end(self, work: Work, outcome: "Outcome") -> None:
        """A picture has ended."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a picture ended: `seconds` until it was written, `size` of the result in bytes.

    `clean`, `left_out` and `truncated` are as in Result, `passing` is as in PictureError.
    """

    status: Status
    seconds: float = 0.0
    size: int = 0
    error: str = ""
    type: str = ""
    clean: str = ""
    left_out: str = ""
    truncated: bool = False
    passing: bool = False


def settle(works: Sequence[Work], report: Report, *, overwrite: bool) -> dict[Work, Outcome]:
    """The outcomes that need no backend, already reported: pictures with a problem, and results that exist."""
    outcomes = {}
    for work in works:
        outcome = _settled(work, overwrite)
        if outcome:
            outcomes[work] = outcome
            report.end(work, outcome)
    return outcomes


def _settled(work: Work, overwrite: bool) -> Outcome | None:
    if work.problem:
        return Outcome("failed", error=work.problem)
    try:
        exists = work.target is not None and files.exists(work.target)
    except OSError as error:
        return Outcome("failed", error=_cannot_write(work, error))
    return Outcome("skipped") if exists and not overwrite else None


async def run(works: Sequence[Work], backend: Backend, report: Report, *, stdin: bytes = b"") -> Mapping[Work, Outcome]:
    """The outcome of each picture. Results that exist are replaced. Cancelling it leaves no half-written file.

    `stdin` is the content of standard input, for works without a source. Raises OSError when the report does.
    """
    outcomes: dict[Work, Outcome] = {}
    waiting = iter(works)

    async def take(queue: Iterator[Work]) -> None:
        for work in queue:
            outcomes[work] = await one(work, backend, report, stdin=stdin)
            report.end(work, outcomes[work])

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(backend.at_once, len(works))):
                group.create_task(take(waiting))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return outcomes


async def one(
    work: Work, backend: Backend, report: Report, *, stdin: bytes = b"", objection: Callable[[], str] = str
) -> Outcome:
    """The outcome of one picture; the caller reports it.

    `objection` is called right before the result is written, and returns why it must not be, or "".
    """
    progress = report.begin(work)
    began = time.monotonic()

    def failed(message: str, type: str = "", *, passing: bool = False) -> Outcome:
        return Outcome("failed", time.monotonic() - began, error=as_flags(message), type=type, passing=passing)

    try:
        data = await asyncio.to_thread(work.source.read_bytes) if work.source else stdin
        result = await backend.upscale(data, progress)
    except PictureError as error:
        return failed(str(error), error.type, passing=error.passing)
    except OSError as error:
        return failed(files.reason(error))
    except Exception as error:  # must not affect the other pictures
        return failed(f"{type(error).__name__}: {error}")
    if problem := objection():
        return failed(problem)
    try:
        await asyncio.to_thread(files.write, work.target, result.body)
    except OSError as error:
        return failed(_cannot_write(work, error))
    return Outcome(
        "done",
        time.monotonic() - began,
        len(result.body),
        clean=result.clean,
        left_out=result.left_out,
        truncated=result.truncated,
    )


def _cannot_write(work: Work, error: OSError) -> str:
    return f"{work.target or 'standard output'} cannot be written: {files.reason(error)}"
