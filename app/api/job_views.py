"""Jobs as routes see them, whichever process runs them: here, or elsewhere and shown on a board."""

import asyncio
import json
import time
from typing import Any, Protocol

import structlog

from app.api.jobs import UNKNOWN_JOB, Job, Jobs
from app.api.pictures import address_of
from app.errors import NotFound, StoreUnavailable
from app.results import JobBoard

_POLL_SECONDS = 0.5
_LAST_STATES = ("done", "failed", "cancelled")


class JobView(Protocol):
    """What can be seen of a job."""

    @property
    def version(self) -> int:
        """Grows with every change."""
        ...

    @property
    def document(self) -> dict[str, Any]:
        """The job as a JobDocument."""
        ...

    @property
    def finished(self) -> bool:
        """Whether nothing will change any more."""
        ...

    async def changed(self, since: int, seconds: float) -> bool:
        """Waits until `version` differs from `since`, at most `seconds`; False if that time passed."""
        ...


class LocalView:
    """A job of this process."""

    def __init__(self, job: Job) -> None:
        """Looks at `job` whenever it is asked."""
        self._job = job

    @property
    def version(self) -> int:
        """See JobView."""
        return self._job.version

    @property
    def document(self) -> dict[str, Any]:
        """See JobView."""
        return describe(self._job)

    @property
    def finished(self) -> bool:
        """See JobView."""
        return self._job.finished

    async def changed(self, since: int, seconds: float) -> bool:
        """See JobView."""
        return await self._job.changed(since, seconds)


class RemoteView:
    """A job of another process, as the board last showed it."""

    def __init__(self, board: JobBoard, job_id: str, owner: str, shown: str) -> None:
        """`shown` is what the board says now."""
        self._board, self._id, self._owner = board, job_id, owner
        self._take(json.loads(shown))

    @property
    def version(self) -> int:
        """See JobView."""
        return self._version

    @property
    def document(self) -> dict[str, Any]:
        """See JobView."""
        return self._document

    @property
    def finished(self) -> bool:
        """See JobView."""
        return self._document["state"] in _LAST_STATES

    async def changed(self, since: int, seconds: float) -> bool:
        """See JobView. A job that the board has lost was cancelled."""
        end = time.monotonic() + seconds
        while self.version == since:
            left = end - time.monotonic()
            if left <= 0:
                return False
            await asyncio.sleep(min(_POLL_SECONDS, left))
            shown = await self._board.read(self._id, self._owner)
            if shown is None:
                self._take({"version": self.version + 1, "job": self.document | {"state": "cancelled"}})
            else:
                self._take(json.loads(shown))
        return True

    def _take(self, note: dict[str, Any]) -> None:
        self._version: int = note["version"]
        self._document: dict[str, Any] = note["job"]


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
            version, finished = job.version, job.finished
            try:
                if job.state == "cancelled":
                    await board.cancel(order.result_id, order.owner)
                elif await board.show(order.result_id, order.owner, _note(version, job)):
                    self._jobs.cancel(order.result_id, order.owner)
                    return
            except StoreUnavailable:
                structlog.get_logger("lapsrn").warning("a job could not be shown to other processes")
            if finished:
                return
            await asyncio.sleep(_POLL_SECONDS / 5)
            await job.changed(version, _POLL_SECONDS)


def describe(job: Job) -> dict[str, Any]:
    """The job as a JobDocument."""
    result_id = job.order.result_id
    left = job.seconds_left
    return {
        "id": result_id,
        "state": job.state,
        "progress": {"done": job.done_tiles, "total": job.total_tiles},
        "seconds_left": None if left is None else round(left, 2),
        "results": {str(level): address_of(result_id, level) for level in job.levels},
        "error": None if job.problem is None else job.problem.document(job.order.request_id),
    }


def _note(version: int, job: Job) -> str:
    return json.dumps({"version": version, "job": describe(job)})
