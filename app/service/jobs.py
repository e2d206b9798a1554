"""All upscales in progress and recently finished. A synchronous request is a job that is waited for."""

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack

import structlog

from app.errors import (
    ClientError,
    DecodersUnavailable,
    Draining,
    LapsrnError,
    QueueFull,
    StoreUnavailable,
    WarmingUp,
    slug_of,
)
from app.metrics import Metrics
from app.service.job import Job
from app.service.job_snapshot import JobError, Made
from app.service.pipeline import Order, Pipeline, Upload, Upscaled
from app.service.stages import Stages
from app.service.webhooks import Hook
from app.shares import Shares

REFUSALS = (ClientError, QueueFull, Draining, WarmingUp, DecodersUnavailable)
"""Errors that are not failures of the service: the client must change the request, or send it again later."""
SHUTTING_DOWN = "The service is shutting down. Send the request again, to another instance or a little later."
UNKNOWN_JOB = "No such job: it never existed, has expired, or belongs to another client."


class Jobs:
    """Starts, finds, cancels and forgets jobs. Lives on the event loop."""

    def __init__(
        self,
        pipeline: Pipeline,
        metrics: Metrics,
        ttl_seconds: float,
        max_jobs: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Remembers jobs of `begin` until `ttl_seconds` after their end by `clock`: at most `max_jobs` of one client
        alone; see Shares for several.
        """
        self._pipeline = pipeline
        self._metrics = metrics
        self._ttl = ttl_seconds
        self._clock = clock
        self._known: dict[str, Job] = {}
        self._shares = Shares(max_jobs)
        """Jobs in `_known` by client."""
        self._under_way: set[Job] = set()
        self._draining = False

    async def wait_for(self, order: Order, upload: Upload, stages: Stages, cleanup: ExitStack) -> Upscaled:
        """Runs an order to its end. Cancelling this call cancels the work. Raises the pipeline's errors."""
        return await self._start(Job(order, stages, self._clock), upload, cleanup)

    def begin(self, order: Order, upload: Upload, stages: Stages, cleanup: ExitStack, hook: Hook | None = None) -> Job:
        """Starts an order as a job that can be looked up; `hook` is the webhook for its end.

        If there is no room, the client with the most jobs may lose one that has ended. Raises QueueFull or
        TooManyRequests when too many are remembered, or Draining.
        """
        self._expire()
        if self._shares.room(order.client) < 1 and not self._make_room(order.client):
            raise self._shares.refusal(
                order.client,
                f"{len(self._known)} jobs are remembered already. Try again later.",
                f"{self._shares.of(order.client)} of your jobs are remembered, which is your share while other clients "
                "are here. DELETE those that you have fetched, or wait until they expire.",
                retry_after=self._ttl / 10,
            )
        job = Job(order, stages, self._clock, hook)
        task = self._start(job, upload, cleanup, patient=True)
        task.add_done_callback(lambda _: self._end_background(job))
        if hook is not None:
            task.add_done_callback(lambda _: hook.fire(job.snapshot()))
        self._known[order.result_id] = job
        self._shares.add(order.client)
        return job

    def get(self, job_id: str, owner: str) -> Job | None:
        """The job; None if it is unknown, has expired, or belongs to another owner."""
        self._expire()
        job = self._known.get(job_id)
        return job if job is not None and job.order.owner == owner else None

    def finished(self) -> list[tuple[str, str]]:
        """The id and owner of each remembered job that has ended."""
        self._expire()
        return [(job.order.result_id, job.order.owner) for job in self._known.values() if job.finished]

    def cancel(self, job_id: str, owner: str) -> bool:
        """Stops the job if it is under way, and forgets it. False if it is unknown here."""
        job = self.get(job_id, owner)
        if job is None:
            return False
        self._forget(job)
        if job.task is not None:
            job.task.cancel()
        return True

    async def drain(self, grace_seconds: float) -> None:
        """Refuses new orders and waits up to `grace_seconds` for those under way."""
        self._draining = True
        await self.settled(grace_seconds)

    async def settled(self, seconds: float) -> None:
        """Waits up to `seconds` for the orders that are under way now to end."""
        tasks = [job.task for job in self._under_way if job.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    @property
    def under_way(self) -> int:
        """The number of unfinished jobs."""
        return len(self._under_way)

    def _start(self, job: Job, upload: Upload, cleanup: ExitStack, patient: bool = False) -> asyncio.Task[Upscaled]:
        """The job's task; `cleanup` is closed when it ends, for whatever reason. Raises Draining."""
        if self._draining:
            raise Draining(SHUTTING_DOWN)
        task = asyncio.create_task(self._pipeline.run(job.order, upload, job.stages, job.progress, patient))
        job.task = task
        self._under_way.add(job)
        self._metrics.upscale_began()
        ended = cleanup.pop_all()
        ended.callback(self._metrics.upscale_ended)
        ended.callback(upload.release)
        task.add_done_callback(lambda _: self._end(job, ended))
        return task

    def _end(self, job: Job, cleanup: ExitStack) -> None:
        """Runs as a callback of the task, so that it also runs if the task was cancelled before its first step."""
        self._under_way.discard(job)
        cleanup.close()
        task = job.task
        if task is None or task.cancelled():
            self._metrics.cancelled(job.stages.current)
            job.move("cancelled")
        elif (error := task.exception()) is not None:
            job.error = _job_error(error)
            job.move("failed")
        else:
            job.done_tiles = job.total_tiles
            upscaled = task.result()
            job.levels = tuple(sorted(upscaled.levels))
            job.made = Made(
                model=upscaled.network,
                clean=str(upscaled.clean_up),
                left_out=upscaled.left_out,
                truncated=upscaled.truncated,
            )
            job.move("done")

    def _end_background(self, job: Job) -> None:
        """Ends a job without a waiting request: reports its errors, and leaves its pictures to the store."""
        task, job.task = job.task, None
        if task is None or task.cancelled():
            self._metrics.job_ended("cancelled")
            return
        error = task.exception()
        if error is not None:
            self._metrics.rejected(slug_of(error))
            self._metrics.job_ended("refused" if isinstance(error, REFUSALS) else "failed")
            if not isinstance(error, LapsrnError):
                structlog.get_logger("lapsrn").error("job failed", exc_info=error)
        elif not task.result().stored:
            job.error = _job_error(StoreUnavailable(task.result().not_stored_because))
            job.move("failed")
            self._metrics.job_ended("failed")
        else:
            self._metrics.job_ended("done")

    def _expire(self) -> None:
        now = self._clock()
        for job in list(self._known.values()):
            if job.ended is not None and now - job.ended > self._ttl:
                self._forget(job)

    def _make_room(self, client: str) -> bool:
        """Forgets one job that has ended of the client that has the most, if that has at least two more than `client`.

        False if there is none. Without this, a few clients could fill the table with tiny jobs, and keep others out
        for as long as these are remembered.
        """

        def precedence(job: Job) -> tuple[int, float]:
            return -self._shares.of(job.order.client), job.ended or 0.0

        first = min((job for job in self._known.values() if job.finished), key=precedence, default=None)
        if first is None or self._shares.of(first.order.client) < self._shares.of(client) + 2:
            return False
        self._forget(first)
        return True

    def _forget(self, job: Job) -> None:
        del self._known[job.order.result_id]
        self._shares.remove(job.order.client)


def _job_error(error: BaseException) -> JobError:
    """The error without its traceback, whose frames hold the upload.

    The text of an unexpected error is for the log only.
    """
    return JobError(slug=slug_of(error), detail=str(error) if isinstance(error, LapsrnError) else "")
