"""Finds jobs wherever they run: in this process, or in another one that publishes them on a board."""

import asyncio
from contextlib import suppress
from functools import partial

from app.errors import NotFound, StoreUnavailable
from app.results import JobBoard
from app.service.job import Job
from app.service.job_polls import POLL_SECONDS, JobPolls
from app.service.job_view import JobView, LocalView, RemoteView, snapshot_of
from app.service.jobs import UNKNOWN_JOB, Jobs

SWEEP_SECONDS = 5.0
"""Interval between checks whether finished jobs were deleted through other processes."""
_SWEEP_BATCH = 500
_NOT_SHOWN = (
    "Jobs of other processes cannot be seen yet: the results store was unavailable or emptied, or has no memory left. "
    "Ask again in a few seconds."
)


class JobDirectory:
    """Finds and cancels jobs of any process; publishes this process's jobs to the others."""

    def __init__(self, jobs: Jobs, board: JobBoard | None) -> None:
        """Without a board, only jobs of this process are known."""
        self._jobs = jobs
        self._board = board
        self._polls = JobPolls()
        self._showing: set[asyncio.Task[None]] = set()
        self._sweeping: asyncio.Task[None] | None = None
        self._closing = False

    def announce(self, job: Job) -> None:
        """Publishes a job that was just started here, and every change of it."""
        if self._board is not None:
            task = asyncio.create_task(self._show(self._board, job))
            self._showing.add(task)
            task.add_done_callback(self._showing.discard)
            if self._sweeping is None:
                self._sweeping = asyncio.create_task(self._sweep(self._board))

    async def find(self, job_id: str, owner: str) -> JobView:
        """The job. Raises NotFound, with the same text whatever the reason, or StoreUnavailable."""
        job = self._jobs.get(job_id, owner)
        if job is not None:
            return LocalView(job)
        if self._board is None:
            raise NotFound(UNKNOWN_JOB)
        shown = await self._board.read(job_id, owner)
        snapshot = snapshot_of(shown)
        if snapshot is None and not shown.cancelled and self._board.incomplete:
            raise StoreUnavailable(_NOT_SHOWN)
        if snapshot is None:
            raise NotFound(UNKNOWN_JOB)
        return RemoteView(self._board, partial(self._polls.next, self._board, job_id, owner), snapshot, shown.leased)

    async def cancel(self, job_id: str, owner: str) -> None:
        """Stops the job if it is under way, and forgets it. Raises NotFound or StoreUnavailable."""
        if self._jobs.cancel(job_id, owner):
            if self._board is not None:
                with suppress(StoreUnavailable):  # `_show` retries for a job under way; finished ones expire there
                    await self._board.cancel(job_id, owner)
        elif self._board is None:
            raise NotFound(UNKNOWN_JOB)
        elif not await self._board.cancel(job_id, owner):
            await self.find(job_id, owner)  # raises what there is to say, unless the job has just been shown again
            raise StoreUnavailable(_NOT_SHOWN)

    async def close(self) -> None:
        """Waits until the ends of jobs are published, with one attempt if the board is away; jobs must have ended."""
        self._closing = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        await asyncio.gather(*self._showing, return_exceptions=True)

    async def _show(self, board: JobBoard, job: Job) -> None:
        """Publishes the job repeatedly, which renews its lease, until it ends or is cancelled through another process.

        While the board is away it is retried as long as the job is remembered here, even after the job has ended.
        """
        order = job.order
        while True:
            snapshot = job.snapshot()
            published = True
            try:
                if snapshot.state == "cancelled":
                    await board.cancel(order.result_id, order.owner)
                elif await board.show(order.result_id, order.owner, snapshot.model_dump_json()):
                    self._jobs.cancel(order.result_id, order.owner)
                    return
            except StoreUnavailable:
                published = False
            known = self._jobs.get(order.result_id, order.owner) is not None
            # The state of a pending webhook may still change.
            settled = published and snapshot.webhook != "pending"
            if snapshot.finished and (settled or self._closing or not known):
                return
            await asyncio.sleep(POLL_SECONDS / 5)
            await job.changed(snapshot.version, POLL_SECONDS)

    async def _sweep(self, board: JobBoard) -> None:
        """Forgets finished jobs that were deleted through other processes; `_show` handles those under way."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            finished = self._jobs.finished()
            with suppress(StoreUnavailable):
                for start in range(0, len(finished), _SWEEP_BATCH):
                    jobs = finished[start : start + _SWEEP_BATCH]
                    for job, cancelled in zip(jobs, await board.cancelled(jobs), strict=True):
                        if cancelled:
                            self._jobs.cancel(*job)
