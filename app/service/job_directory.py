"""Jobs wherever they run: in this process, or in another that shows them on a board."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from pydantic import ValidationError

from app.errors import JobLost, NotFound, StoreUnavailable
from app.results import JobBoard, Shown
from app.service.job_snapshot import JobError, JobSnapshot, State
from app.service.jobs import UNKNOWN_JOB, Job, Jobs

POLL_SECONDS = 0.5
SWEEP_SECONDS = 5.0
"""Pause before it is asked again whether finished jobs have been forgotten through other processes."""
_AT_ONCE = 500
_NOT_SHOWN = "Jobs of other processes cannot be seen: the results store has no memory left. Ask again in a few seconds."
_LOST = JobError(
    slug=JobLost.slug,
    detail="The process that ran this job is gone, and its work with it. Send the picture again.",
)


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
    """A job of another process, as the board last showed it.

    If that process has not shown it for as long as its lease, it has failed: it is lost. This can only be told if the
    board worked all that time: in an outage even a live process cannot renew a lease.
    """

    def __init__(
        self,
        board: JobBoard,
        job_id: str,
        owner: str,
        told: JobSnapshot,
        leased: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`told` and `leased` are what the board says now; `clock` is in seconds."""
        self._board, self._id, self._owner = board, job_id, owner
        self._clock = clock
        self._gone_since: float | None = None
        self._snapshot = self._told(told, leased)

    @property
    def snapshot(self) -> JobSnapshot:
        """The job when the board was last read."""
        return self._snapshot

    async def changed(self, since: int, seconds: float) -> bool:
        """Polls the board. While it is away there is no change."""
        end = self._clock() + seconds
        while self._snapshot.version == since:
            left = end - self._clock()
            if left <= 0:
                return False
            await asyncio.sleep(min(POLL_SECONDS, left))
            try:
                shown = await self._board.read(self._id, self._owner)
            except StoreUnavailable:
                self._gone_since = None
                continue
            self._snapshot = self._seen(shown)
        return True

    def _seen(self, shown: Shown) -> JobSnapshot:
        if (told := _read(shown)) is not None:
            self._gone_since = None
            return self._told(told, shown.leased)
        if shown.cancelled:
            return self._ended("cancelled")
        # The board was emptied. If the job's process is alive, it will show the job again.
        if self._gone_since is None:
            self._gone_since = self._clock()
        if self._clock() - self._gone_since < self._board.lease_seconds:
            return self._snapshot
        return self._ended("failed", _LOST)

    def _told(self, told: JobSnapshot, leased: bool) -> JobSnapshot:
        """What the job's process said, unless it is gone."""
        self._snapshot = told
        if self._snapshot.finished or leased or self._board.watched_seconds < self._board.lease_seconds:
            return self._snapshot
        return self._ended("failed", _LOST)

    def _ended(self, state: State, error: JobError | None = None) -> JobSnapshot:
        update = {"version": self._snapshot.version + 1, "state": state, "seconds_left": None, "error": error}
        return self._snapshot.model_copy(update=update)


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
        told = _read(shown)
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


def _read(shown: Shown) -> JobSnapshot | None:
    """The job's state; None without one, or where another program, or another version of this one, has written it."""
    try:
        return None if shown.document is None else JobSnapshot.model_validate_json(shown.document)
    except ValidationError:
        return None
