"""Where jobs can be seen from other processes: their state as JSON, and the wish to cancel them."""

from typing import Protocol


class JobBoard(Protocol):
    """Jobs by (id, owner), for processes that do not run them. All calls raise errors.StoreUnavailable."""

    async def show(self, job_id: str, owner: str, document: str) -> bool:
        """Shows a job's state, for as long as a finished job is remembered; True if somebody wants it cancelled."""
        ...

    async def read(self, job_id: str, owner: str) -> str | None:
        """The state last shown, or None."""
        ...

    async def cancel(self, job_id: str, owner: str) -> bool:
        """Asks the process that runs the job to cancel it, and takes it off; False if it is not there."""
        ...
