"""What a job says of itself while it runs, and which jobs are remembered."""

import asyncio
from contextlib import ExitStack
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from app.errors import Draining, QueueFull, TooManyRequests
from app.metrics import Metrics
from app.options import UpscaleOptions
from app.results import StoredPicture
from app.service.clean_up import CleanUp
from app.service.job_snapshot import JobSnapshot
from app.service.jobs import Job, Jobs
from app.service.pipeline import Order, Upload, Upscaled
from app.service.stages import Stages
from tests.conftest import until


class Clock:
    """Seconds that stand still until a test moves them."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def order(job_id: str, client: str = "me") -> Order:
    return Order(UpscaleOptions(), client, "", job_id, "request", deadline_seconds=None)


def stages() -> Stages:
    return Stages(lambda stage, seconds: None)


@pytest.fixture
def job(clock: Clock) -> Job:
    return Job(order("a"), stages(), clock)


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


class Work:
    """A pipeline whose orders end when their test says so."""

    def __init__(self) -> None:
        self.ends: dict[str, asyncio.Future[Upscaled]] = {}

    async def run(self, order: Order, upload: Upload, stages: Stages, progress: Any, patient: bool) -> Upscaled:
        progress(0, 8)
        return await self.ends.setdefault(order.result_id, asyncio.get_running_loop().create_future())


class Hook:
    """A webhook that keeps what it would send."""

    state = "pending"

    def __init__(self) -> None:
        self.sent: list[JobSnapshot] = []

    def fire(self, job: JobSnapshot) -> None:
        self.sent.append(job)


class Service:
    """Jobs, of which at most three are remembered for one client alone, and four for all together."""

    def __init__(self, clock: Clock) -> None:
        self.work, self.clock = Work(), clock
        metrics = Metrics(CollectorRegistry())
        self.jobs = Jobs(self.work, metrics, ttl_seconds=100.0, max_jobs=3, clock=clock)  # type: ignore[arg-type]

    async def begin(self, job_id: str, client: str = "me", hook: Any = None) -> Job:
        job = self.jobs.begin(order(job_id, client), Upload(b""), stages(), ExitStack(), hook)
        await until(lambda: job_id in self.work.ends)
        return job

    async def end(self, *jobs: Job, stored: bool = True) -> None:
        """Ends them one second after the other."""
        for job in jobs:
            self.clock.now += 1.0
            picture = StoredPicture(b"", "image/png", "")
            self.work.ends[job.order.result_id].set_result(
                Upscaled({4: picture, 2: picture}, 4, "x", 1, stored, "it was full", False, (), 1, 1, CleanUp())
            )
            await until(lambda job=job: job.finished and job.task is None)  # type: ignore[misc]

    @property
    def remembered(self) -> str:
        return "".join(each for each in "abcdefgh" if self.jobs.get(each, "") is not None)


@pytest.fixture
def service(clock: Clock) -> Service:
    return Service(clock)


async def test_a_job_that_is_done_has_no_tiles_left_even_if_the_last_ones_were_not_reported(service: Service) -> None:
    job = await service.begin("a")
    await service.end(job)
    shown = job.snapshot()
    assert (shown.state, shown.done_tiles, shown.total_tiles, shown.levels) == ("done", 8, 8, (2, 4))


async def test_a_job_belongs_to_its_owner(service: Service) -> None:
    job = await service.begin("a")
    assert service.jobs.get("a", "") is job
    assert service.jobs.get("a", "another") is None
    assert not service.jobs.cancel("a", "another")
    assert service.jobs.get("b", "") is None
    await service.end(job)


async def test_only_jobs_that_have_ended_count_as_finished(service: Service) -> None:
    first, second = await service.begin("a"), await service.begin("b")
    await service.end(first)
    assert service.jobs.finished() == [("a", "")]
    await service.end(second)
    service.clock.now += 99.5
    assert service.jobs.finished() == [("b", "")]
    service.clock.now += 1.0
    assert service.jobs.finished() == []


async def test_a_new_client_takes_the_place_of_the_job_that_ended_first_of_the_client_with_the_most(
    service: Service,
) -> None:
    anns = [await service.begin(each, "ann") for each in "abc"]
    bobs = [await service.begin("d", "bob")]
    with pytest.raises(QueueFull) as refused:
        await service.begin("e", "cleo")
    assert refused.value.retry_after == 10.0
    await service.end(bobs[0], anns[1], anns[0])
    bobs.append(await service.begin("e", "bob"))
    assert service.remembered == "acde", "Ann has had two more than Bob"
    with pytest.raises(TooManyRequests):
        await service.begin("f", "bob")
    cleos = [await service.begin("f", "cleo")]
    assert service.remembered == "acef"
    with pytest.raises(QueueFull):
        await service.begin("g", "cleo")
    await service.end(anns[2], bobs[1], *cleos)


async def test_a_job_that_is_under_way_gives_up_its_place_to_nobody(service: Service) -> None:
    jobs = [await service.begin(each, "ann") for each in "abc"] + [await service.begin("d", "bob")]
    for _ in range(2):
        with pytest.raises(QueueFull):
            await service.begin("e", "cleo")
    assert service.remembered == "abcd"
    await service.end(*jobs)


async def test_a_body_that_is_complete_only_after_the_drain_has_begun_is_refused(service: Service) -> None:
    job = await service.begin("a")
    draining = asyncio.create_task(service.jobs.drain(60.0))
    await asyncio.sleep(0)
    with pytest.raises(Draining):
        await service.begin("b")
    with pytest.raises(Draining):
        await service.jobs.wait_for(order("c"), Upload(b""), stages(), ExitStack())
    assert (service.remembered, service.jobs.under_way) == ("a", 1)
    await service.end(job)
    await draining


@pytest.mark.parametrize(("stored", "state"), [(True, "done"), (False, "failed")])
async def test_a_webhook_reports_a_result_that_could_not_be_stored_as_a_failure(
    service: Service, stored: bool, state: str
) -> None:
    hook = Hook()
    job = await service.begin("a", hook=hook)
    assert not hook.sent
    await service.end(job, stored=stored)
    (sent,) = hook.sent
    assert (sent.state, job.snapshot().state) == (state, state)
    assert (sent.error is None) is stored


async def test_a_change_of_a_webhook_is_a_change_of_its_job(service: Service) -> None:
    hook: Any = Hook()
    job = await service.begin("a", hook=hook)
    await service.end(job)
    seen = job.version
    hook.state = "delivered"
    hook.on_change()
    assert job.version > seen
    assert job.snapshot().webhook == "delivered"
