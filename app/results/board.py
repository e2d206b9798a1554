"""The interface of a board, through which processes see each other's jobs: state as JSON, lease, cancellation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Shown:
    """What a board knows of a job; `document` is its state as last shown, None if there is none."""

    document: str | None
    leased: bool
    """Whether the process that runs the job has renewed its lease in time."""
    cancelled: bool
    """Whether its cancellation was requested."""


class JobBoard(Protocol):
    """Jobs by (id, owner), for processes that do not run them. All calls raise errors.StoreUnavailable."""

    lease_seconds: float
    """A process that has not shown an unfinished job for this long has lost it."""

    @property
    def watched_seconds(self) -> float:
        """How long this process has seen the board work without a break: in an outage no lease is renewed.

        A suspension of this process is a break, too, and so is a jump of the board's clock.
        """
        ...

    @property
    def incomplete(self) -> bool:
        """Whether jobs may be missing that will be shown again.

        So it is until a lease after the board has lost everything or could not be written.
        """
        ...

    async def show(self, job_id: str, owner: str, document: str) -> bool:
        """Shows a job's state, for as long as a finished job is remembered, and renews its lease.

        True if its cancellation was requested.
        """
        ...

    async def agree(self, job_id: str, owner: str, before: str | None, document: str, fresh_seconds: float) -> str:
        """Shows `document` unless something other than `before` is shown (compare and set); returns what is shown then.

        `document` is leased for `fresh_seconds`.
        """
        ...

    async def read(self, job_id: str, owner: str) -> Shown:
        """What the board knows of a job."""
        ...

    async def cancel(self, job_id: str, owner: str) -> bool:
        """Asks the process that runs the job to cancel it, and removes its state; False if there is none."""
        ...

    async def cancelled(self, jobs: Sequence[tuple[str, str]]) -> Sequence[bool]:
        """For each of these jobs, by id and owner, whether its cancellation was requested."""
        ...
