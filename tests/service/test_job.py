"""What a job says of itself while it runs."""

import asyncio

import pytest

from app.options import UpscaleOptions
from app.service.job import Job
from app.service.pipeline import Order
from app.service.stages import Stages


class Clock:
    """Seconds that stand still until a test moves them."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def job(clock: Clock) -> Job:
    order = Order(UpscaleOptions(), "me", "", "a", "request", deadline_seconds=None)
    return Job(order, Stages(lambda stage, seconds: None), clock)


def test_a_job_is_running_from_its_first_tile_on(job: Job) -> None:
    assert job.snapshot().state == "queued"
    job.progress(0, 4)
    assert (job.snapshot().state, job.snapshot().total_tiles) == ("queued", 4)
    job.progress(1, 4)
    assert (job.snapshot().state, job.snapshot().done_tiles) == ("running", 1)


def test_the_remaining_time_follows_the_rate_since_the_first_tiles(job: Job, clock: Clock) -> None:
    """What came before them, waiting in the queue, says nothing about the rate."""
    job.progress(0, 10)
    clock.now = 100.0
    job.progress(2, 10)
    assert job.snapshot().seconds_left is None
    clock.now = 102.0
    job.progress(6, 10)
    assert job.snapshot().seconds_left == 2.0
    job.move("done")
    assert job.snapshot().seconds_left is None


async def test_a_change_wakes_its_waiters(job: Job) -> None:
    seen = job.version
    waiting = asyncio.create_task(job.changed(seen, 60.0))
    await asyncio.sleep(0)
    job.progress(1, 2)
    assert await waiting
    assert job.version > seen
    assert not await job.changed(job.version, 0.0)
