"""Reads of jobs on a board, shared: a job is read as often for a thousand that watch it as for one."""

import asyncio

from app.results import JobBoard, Shown

POLL_SECONDS = 0.5


class JobPolls:
    """The next read of each watched job. Lives on the event loop."""

    def __init__(self) -> None:
        """No job is watched yet."""
        self._reads: dict[tuple[str, str], asyncio.Task[Shown]] = {}

    async def next(self, board: JobBoard, job_id: str, owner: str) -> Shown:
        """The job when it is next read, within `POLL_SECONDS`. Raises StoreUnavailable."""
        if (job_id, owner) not in self._reads:
            read = self._reads[job_id, owner] = asyncio.create_task(self._read(board, job_id, owner))
            # If nobody waits any more, asyncio must not log its error.
            read.add_done_callback(lambda read: read.cancelled() or read.exception())
        return await asyncio.shield(self._reads[job_id, owner])

    async def _read(self, board: JobBoard, job_id: str, owner: str) -> Shown:
        await asyncio.sleep(POLL_SECONDS)
        del self._reads[job_id, owner]  # before it ends: one that has ended would be returned at once, again and again
        return await board.read(job_id, owner)
