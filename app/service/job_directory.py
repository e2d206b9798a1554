"""Jobs wherever they run: in this process, or in another that shows them on a board."""

import asyncio
from contextlib import suppress

from app.errors import NotFound, StoreUnavailable
from app.results import JobBoard
from app.service.job_view import POLL_SECONDS, JobView, LocalView, RemoteView, told_by
from app.service.jobs import UNKNOWN_JOB, Job, Jobs

SWEEP_SECONDS = 5.0
"""Pause before it is asked again whether finished jobs have been forgotten through other processes."""
_AT_ONCE = 500
_NOT_SHOWN = "Jobs of other processes cannot be seen: the results store has no memory left. Ask again in a few seconds."


class JobDirectory:
    """Finds and cancels jobs wherever they run; shows this process's jobs to the others."""

    def __init__(self, jobs: Jobs, board: JobBoard | None) -> None:
        """Without a board there is only this process."""
        self._jobs = jobs
        self._board = board
        self._showing: set[asyncio.Task[None]] = set()
        self._sweeping: asyncio.Task[None] | None = None
        self._closing = False

    def announce(self, job: Job) -> None:
        """Keeps the board up to date about a job that was just begun here."""
        if self._board is not None:
            task = asyncio.create_task(self._show(self._board, job))
            self._showing.add(task)
            task.add_done_callback(self._showing.discard)
            if self._sweeping is None:
                self._sweeping = asyncio.create_task(self._sweep(self._board))

    async def find(self, job_id: str, owner: str) -> JobView:
        """The job. Raises NotFound, in the same words whatever the reason, or StoreUnavailable."""
        job = self._jobs.get(job_id, owner)
        if job is not None:
            return LocalView(job)
        if self._board is None:
            raise NotFound(UNKNOWN_JOB)
        shown = await self._board.read(job_id, owner)
        told = told_by(shown)
        if told is None and not shown.cancelled and self._board.watched_seconds == 0:
            raise StoreUnavailable(_NOT_SHOWN)
        if told is None:
            raise NotFound(UNKNOWN_JOB)
        return RemoteView(self._board, job_id, owner, told, shown.leased)

    async def cancel(self, job_id: str, owner: str) -> None:
        """Stops the job if it is under way, and forgets it. Raises NotFound or StoreUnavailable."""
        if self._jobs.cancel(job_id, owner):
            if self._board is not None:
                with suppress(StoreUnavailable):  # `_show` tries again for a job under way; others expire there
                    await self._board.cancel(job_id, owner)
        elif self._board is None or not await self._board.cancel(job_id, owner):
            raise NotFound(UNKNOWN_JOB)

    async def close(self) -> None:
        """Lets what is under way be shown to its end, once where the board is away; jobs must have ended."""
        self._closing = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        await asyncio.gather(*self._showing, return_exceptions=True)

    async def _show(self, board: JobBoard, job: Job) -> None:
        """Until the job ends, or somebody cancels it elsewhere; again and again, which renews its lease.

        A board that is away is tried again, also for the end, as long as the job is remembered here.
        """
        order = job.order
        while True:
            snapshot = job.snapshot()
            told = True
            try:
                if snapshot.state == "cancelled":
                    await board.cancel(order.result_id, order.owner)
                elif await board.show(order.result_id, order.owner, snapshot.model_dump_json()):
                    self._jobs.cancel(order.result_id, order.owner)
                    return
            except StoreUnavailable:
                told = False
            known = self._jobs.get(order.result_id, order.owner) is not None
            # While its webhook is not delivered, that may still change.
            settled = told and snapshot.webhook != "pending"
            if snapshot.finished and (settled or self._closing or not known):
                return
            await asyncio.sleep(POLL_SECONDS / 5)
            await job.changed(snapshot.version, POLL_SECONDS)

    async def _sweep(self, board: JobBoard) -> None:
        """Forgets finished jobs that were forgotten through other processes; `_show` sees to those under way."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            finished = self._jobs.finished()
            with suppress(StoreUnavailable):
                for start in range(0, len(finished), _AT_ONCE):
                    jobs = finished[start : start + _AT_ONCE]
                    for job, cancelled in zip(jobs, await board.cancelled(jobs), strict=True):
                        if cancelled:
                            self._jobs.cancel(*job)
