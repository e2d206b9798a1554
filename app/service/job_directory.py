"""Jobs wherever they run: in this process, or in another that shows them on a board."""

import asyncio
import time
from typing import Protocol

import structlog

from app.errors import NotFound, StoreUnavailable
from app.results import JobBoard
from app.service.job_snapshot import JobSnapshot
from app.service.jobs import UNKNOWN_JOB, Job, Jobs

_POLL_SECONDS = 0.5


class JobView(Protocol):
    """A job that can be watched."""

    @property
    def snapshot(self) -> JobSnapshot:
        """The job as last known."""
        ...

    async def changed(self, since: int, seconds: float) -> bool:
        """Waits until the version differs from `since`, at most `seconds`; False if that time passed."""
        ...


class LocalView:
    """A job of this process."""

    def __init__(self, job: Job) -> None:
        self._job = job

    @property
    def snapshot(self) -> JobSnapshot:
        """The job now."""
        return self._job.snapshot()

    async def changed(self, since: int, seconds: float) -> bool:
        """Waits for the job itself."""
        return await self._job.changed(since, seconds)


class RemoteView:
    """A job of another process, as the board last showed it."""

    def __init__(self, board: JobBoard, job_id: str, owner: str, shown: str) -> None:
        """`shown` is what the board says now."""
        self._board, self._id, self._owner = board, job_id, owner
        self._snapshot = JobSnapshot.model_validate_json(shown)

    @property
    def snapshot(self) -> JobSnapshot:
        """The job when the board was last read."""
        return self._snapshot

    async def changed(self, since: int, seconds: float) -> bool:
        """Polls the board. A job that the board no longer has was cancelled."""
        end = time.monotonic() + seconds
        while self._snapshot.version == since:
            left = end - time.monotonic()
            if left <= 0:
                return False
            await asyncio.sleep(min(_POLL_SECONDS, left))
            shown = await self._board.read(self._id, self._owner)
            if shown is None:
                cancelled = {"version": self._snapshot.version + 1, "state": "cancelled"}
                self._snapshot = self._snapshot.model_copy(update=cancelled)
            else:
                self._snapshot = JobSnapshot.model_validate_json(shown)
        return True


class JobDirectory:
    """Finds and cancels jobs wherever they run; shows this process's jobs to the others."""

    def __init__(self, jobs: Jobs, board: JobBoard | None) -> None:
        """Without a board there is only this process."""
        self._jobs = jobs
        self._board = board
        self._showing: set[asyncio.Task[None]] = set()

    def announce(self, job: Job) -> None:
        """Keeps the board up to date about a job that was just begun here."""
        if self._board is not None:
            task = asyncio.create_task(self._show(self._board, job))
            self._showing.add(task)
            task.add_done_callback(self._showing.discard)

    async def find(self, job_id: str, owner: str) -> JobView:
        """The job. Raises NotFound, in the same words whatever the reason, or StoreUnavailable."""
        job = self._jobs.get(job_id, owner)
        if job is not None:
            return LocalView(job)
        shown = None if self._board is None else await self._board.read(job_id, owner)
        if self._board is None or shown is None:
            raise NotFound(UNKNOWN_JOB)
        return RemoteView(self._board, job_id, owner, shown)

    async def cancel(self, job_id: str, owner: str) -> None:
        """Stops the job if it is under way, and forgets it. Raises NotFound or StoreUnavailable."""
        if self._jobs.cancel(job_id, owner):
            return
        if self._board is None or not await self._board.cancel(job_id, owner):
            raise NotFound(UNKNOWN_JOB)

    async def close(self) -> None:
        """Lets what is under way be shown to its end; jobs must have ended."""
        await asyncio.gather(*self._showing, return_exceptions=True)

    async def _show(self, board: JobBoard, job: Job) -> None:
        """Until the job ends, or somebody cancels it elsewhere. A board that is away is tried again."""
        order = job.order
        while True:
            snapshot = job.snapshot()
            try:
                if snapshot.state == "cancelled":
                    await board.cancel(order.result_id, order.owner)
                elif await board.show(order.result_id, order.owner, snapshot.model_dump_json()):
                    self._jobs.cancel(order.result_id, order.owner)
                    return
            except StoreUnavailable:
                structlog.get_logger("lapsrn").warning("a job could not be shown to other processes")
            if snapshot.finished:
                return
            await asyncio.sleep(_POLL_SECONDS / 5)
            await job.changed(snapshot.version, _POLL_SECONDS)
