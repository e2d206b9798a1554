"""Views of a job that can be watched: of this process, or of another process that publishes it on a board."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from pydantic import ValidationError

from app.errors import JobLost, StoreUnavailable
from app.results import JobBoard, Shown
from app.service.job import Job
from app.service.job_snapshot import JobError, JobSnapshot, State

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
    """A job of another process, as last read from the board.

    If the job's lease runs out, the job is lost and counts as failed, and so does its webhook; the lease of a finished
    job is renewed until its webhook has ended. That holds only if the board was available for the whole lease time: in
    an outage, a live process cannot renew a lease either.
    """

    def __init__(
        self,
        board: JobBoard,
        next_read: Callable[[], Awaitable[Shown]],
        snapshot: JobSnapshot,
        leased: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`snapshot` and `leased` were just read from the board; `clock` is in seconds.

        `next_read` waits for the job to be read again. It raises StoreUnavailable.
        """
        self._board, self._next_read = board, next_read
        self._clock = clock
        self._gone_since: float | None = None
        self._snapshot = self._checked(snapshot, leased)

    @property
    def snapshot(self) -> JobSnapshot:
        """The job when the board was last read."""
        return self._snapshot

    async def changed(self, since: int, seconds: float) -> bool:
        """Follows the board; while it is away, nothing changes."""
        end = self._clock() + seconds
        while self._snapshot.version == since:
            left = end - self._clock()
            if left <= 0:
                return False
            try:
                async with asyncio.timeout(left):
                    shown = await self._next_read()
            except TimeoutError:
                return False
            except StoreUnavailable:
                self._gone_since = None
                continue
            self._snapshot = self._after(shown)
        return True

    def _after(self, shown: Shown) -> JobSnapshot:
        """The job after a read of the board."""
        if (snapshot := snapshot_of(shown)) is not None:
            self._gone_since = None
            return self._checked(snapshot, shown.leased)
        if shown.cancelled:
            return _ended(self._snapshot, "cancelled")
        # The board was emptied. If the job's process is alive, it will publish the job again.
        if self._gone_since is None:
            self._gone_since = self._clock()
        if self._clock() - self._gone_since < self._board.lease_seconds:
            return self._snapshot
        return _lost(self._snapshot)

    def _checked(self, snapshot: JobSnapshot, leased: bool) -> JobSnapshot:
        """The published snapshot; as `_lost` if the job's process is gone."""
        kept = leased or self._board.watched_seconds < self._board.lease_seconds
        return snapshot if kept else _lost(snapshot)


def _lost(last: JobSnapshot) -> JobSnapshot:
    """A job whose process is gone: it has failed unless it had finished, and so has its pending webhook."""
    ended = last if last.finished else _ended(last, "failed", _LOST)
    return ended.model_copy(update={"webhook": "failed"}) if ended.webhook == "pending" else ended


def _ended(last: JobSnapshot, state: State, error: JobError | None = None) -> JobSnapshot:
    """A job that has ended after its snapshot `last`."""
    update = {"version": last.version + 1, "state": state, "seconds_left": None, "error": error}
    return last.model_copy(update=update)


def snapshot_of(shown: Shown) -> JobSnapshot | None:
    """The published snapshot; None if there is none, or one that this version cannot read."""
    try:
        return None if shown.document is None else JobSnapshot.model_validate_json(shown.document)
    except ValidationError:
        return None
