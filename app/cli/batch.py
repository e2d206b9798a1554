"""Takes a list of pictures through a backend, several at once, and goes on after a bad one."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from app.cli import files
from app.cli.inputs import Work

Status = Literal["done", "skipped", "failed"]
Progress = Callable[[int, int], None]


class PictureError(Exception):
    """This picture cannot be upscaled; `type` is the problem's type as in the service's answers."""

    def __init__(self, message: str, type: str = "") -> None:
        """`message` is fit to show."""
        super().__init__(message)
        self.type = type


class Backend(Protocol):
    """What does the work: this machine, or a service elsewhere."""

    at_once: int
    """Pictures that are worth having under way at the same time."""

    async def upscale(self, data: bytes, progress: Progress | None) -> bytes:
        """The bytes of a picture to the bytes of the result. Raises PictureError."""

    async def close(self) -> None:
        """Let go of everything."""


class Report(Protocol):
    """Who is told how it goes."""

    def begin(self, work: Work) -> Progress | None:
        """This picture is taken up; the answer, if any, is called with (tiles done, tiles in all)."""

    def end(self, work: Work, outcome: "Outcome") -> None:
        """This picture is over."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one picture ended. `seconds` from taken up to written; `size` of the result in bytes."""

    status: Status
    seconds: float = 0.0
    size: int = 0
    error: str = ""
    type: str = ""


async def run(
    works: Sequence[Work], backend: Backend, report: Report, *, overwrite: bool, stdin: bytes = b""
) -> list[Outcome]:
    """The outcome of each picture, in the order of `works`. Cancelling it leaves no half-written file.

    `stdin` is what standard input held, for works without a source.
    """
    outcomes: dict[int, Outcome] = {}
    waiting = iter(enumerate(works))

    async def take(queue: Iterator[tuple[int, Work]]) -> None:
        for index, work in queue:
            outcomes[index] = await _one(work, backend, report, overwrite, stdin)
            report.end(work, outcomes[index])

    async with asyncio.TaskGroup() as group:
        for _ in range(min(backend.at_once, len(works))):
            group.create_task(take(waiting))
    return [outcomes[index] for index in range(len(works))]


async def _one(work: Work, backend: Backend, report: Report, overwrite: bool, stdin: bytes) -> Outcome:
    if work.problem:
        return Outcome("failed", error=work.problem)
    if work.target and not overwrite and work.target.exists():
        return Outcome("skipped")
    progress = report.begin(work)
    began = time.monotonic()
    try:
        data = await asyncio.to_thread(work.source.read_bytes) if work.source else stdin
        body = await backend.upscale(data, progress)
        await asyncio.to_thread(files.write, work.target, body)
    except PictureError as error:
        return Outcome("failed", time.monotonic() - began, error=str(error), type=error.type)
    except OSError as error:
        return Outcome("failed", time.monotonic() - began, error=error.strerror or str(error))
    except Exception as error:  # whatever it was, the other pictures are not to blame
        return Outcome("failed", time.monotonic() - began, error=f"{type(error).__name__}: {error}")
    return Outcome("done", time.monotonic() - began, len(body))
