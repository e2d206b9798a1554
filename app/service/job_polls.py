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
        key = job_id, owner
        read = self._reads.get(key)
        if read is None or read.done():  # an ended one would be returned at once, again and again
            read = self._reads[key] = asyncio.create_task(_read_later(board, job_id, owner))
            read.add_done_callback(lambda read: self._forget(key, read))
        return await asyncio.shield(read)

    def _forget(self, key: tuple[str, str], read: asyncio.Task[Shown]) -> None:
        if self._reads.get(key) is read:
            del self._reads[key]
        if not read.cancelled():
            read.exception()  # if nobody waits any more, asyncio must not log it


async def _read_later(board: JobBoard, job_id: str, owner: str) -> Shown:
    await asyncio.sleep(POLL_SECONDS)
    return await board.read(job_id, owner)
