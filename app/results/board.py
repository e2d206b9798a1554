"""Where jobs can be seen from other processes: their state as JSON, a lease, and the wish to cancel them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Shown:
    """What a board knows of a job: its state as last shown, if it is still there; whether its process lives."""

    document: str | None
    leased: bool
    """Whether the process that runs the job has shown it lately."""
    cancelled: bool
    """Whether somebody asked for it to be cancelled."""


class JobBoard(Protocol):
    """Jobs by (id, owner), for processes that do not run them. All calls raise errors.StoreUnavailable."""

    lease_seconds: float
    """A process that has not shown an unfinished job for so long does not run it any more."""

    @property
    def watched_seconds(self) -> float:
        """How long the board has worked without a break, as this process sees it: in an outage no lease is renewed.

        To have been stopped is a break, too, and so is a jump of the clock that leases run by.
        """
        ...

    async def show(self, job_id: str, owner: str, document: str) -> bool:
        """Shows a job's state, for as long as a finished job is remembered, and renews its lease.

        True if somebody wants it cancelled.
        """
        ...

    async def agree(self, job_id: str, owner: str, before: str | None, document: str, fresh_seconds: float) -> str:
        """Shows `document`, unless something is shown that is not `before`. What is shown then, to all alike.

        For `fresh_seconds` after that, `read` says that it is leased.
        """
        ...

    async def read(self, job_id: str, owner: str) -> Shown:
        """What is known of a job."""
        ...

    async def cancel(self, job_id: str, owner: str) -> bool:
        """Asks the process that runs the job to cancel it, and takes it off; False if it is not there."""
        ...

    async def cancelled(self, jobs: Sequence[tuple[str, str]]) -> Sequence[bool]:
        """Whether somebody asked for each of these to be cancelled, by id and owner."""
        ...
