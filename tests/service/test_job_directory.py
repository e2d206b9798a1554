"""Jobs seen from another process, through a real Redis; and how they are published, on a board of the test."""

import asyncio
import json
import threading
import weakref
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import structlog
from redis.asyncio import Redis

from app.errors import StoreUnavailable
from app.results import Shown, storage_key
from app.results.redis import RedisStore
from app.results.redis_board import RedisBoard
from app.results.redis_link import KEYS
from app.service.job_directory import JobDirectory
from app.service.job_snapshot import JobSnapshot
from bench.redis_server import RedisServer
from tests import pictures
from tests.api.raw import Exchange
from tests.conftest import Running, app_of, service_of, until
from tests.fakes import FakeModel
from tests.service.test_jobs import Clock, Hook, Service
from tests.tcp_proxy import proxied

pytestmark = pytest.mark.server
FILES = {"image": pictures.png(pictures.gray())}
ASYNC = {"prefer": "respond-async"}


async def state_of(client: httpx.AsyncClient, url: str) -> str:
    for _ in range(200):
        answer = await client.get(url)
        if answer.status_code == 200:
            return str(answer.json()["state"])
        await asyncio.sleep(0.01)
    return "never seen"


async def test_a_job_and_its_result_are_visible_from_another_process(serve: Running, redis_server: RedisServer) -> None:
    gate = threading.Event()
    shared = {"redis_url": redis_server.url, "processes": 2}
    async with serve([lambda: FakeModel(gate=gate)], **shared) as here, serve(**shared) as there:
        made = await here.post("/upscale", files=FILES, headers=ASYNC)
        url = made.headers["location"]
        assert await state_of(there, url) == "queued"
        reading = asyncio.create_task(there.get(f"{url}/events"))
        gate.set()
        last = json.loads((await reading).text.rsplit("data: ", 1)[1].partition("\n")[0])
        assert last == (await here.get(url)).json() == (await there.get(url)).json()
        assert last["state"] == "done"
        picture = await there.get(last["results"]["2"])
        assert pictures.opened(picture.content).shape == (12, 18)


async def test_a_job_can_be_cancelled_from_another_process(serve: Running, redis_server: RedisServer) -> None:
    gate = threading.Event()
    shared = {"redis_url": redis_server.url, "processes": 2}
    async with serve([lambda: FakeModel(gate=gate)], **shared) as here, serve(**shared) as there:
        made = await here.post("/upscale", files=FILES, headers=ASYNC)
        url = made.headers["location"]
        await state_of(there, url)
        assert (await there.delete(url)).status_code == 204
        assert (await there.get(url)).status_code == 404
        await until(lambda: service_of(here).jobs.under_way == 0)
        assert (await here.get(url)).status_code == 404
        gate.set()


async def test_a_finished_job_deleted_in_one_process_is_gone_in_all(
    serve: Running, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts for its client's share of jobs as long as it is remembered."""
    monkeypatch.setattr("app.service.job_directory.SWEEP_SECONDS", 0.01)
    shared = {"redis_url": redis_server.url, "processes": 2}
    async with serve(**shared) as here, serve(**shared) as there:
        urls = [(await here.post("/upscale", files=FILES, headers=ASYNC)).headers["location"] for _ in range(3)]
        for url in urls:
            await state_of(there, url)
            await there.get(f"{url}/events")
        assert (await there.delete(urls[0])).status_code == 204
        assert (await here.delete(urls[1])).status_code == 204
        await until(lambda: len(service_of(here).jobs.finished()) == 1)
        seen = [(await each.get(url)).status_code for url in urls for each in (here, there)]
        assert seen == [404, 404, 404, 404, 200, 200]


async def test_a_job_cancelled_in_its_own_process_is_gone_in_all(serve: Running, redis_server: RedisServer) -> None:
    gate = threading.Event()
    shared = {"redis_url": redis_server.url, "processes": 2}
    async with serve([lambda: FakeModel(gate=gate)], **shared) as here, serve(**shared) as there:
        made = await here.post("/upscale", files=FILES, headers=ASYNC)
        url = made.headers["location"]
        await state_of(there, url)
        events = Exchange("GET", f"{url}/events")
        watching = asyncio.create_task(events.run(app_of(there)))
        await until(lambda: events.status)
        assert (await here.delete(url)).status_code == 204
        await watching
        assert b'"state":"cancelled"' in events.body
        assert (await there.get(url)).status_code == 404
        gate.set()


async def test_a_job_that_redis_has_just_lost_is_a_503_in_another_process_until_it_is_shown_again(
    serve: Running, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client would take a 404 for the end of its job, which still runs."""
    monkeypatch.setattr("app.service.job_directory.POLL_SECONDS", 60.0)  # not yet
    gate = threading.Event()
    shared = {"redis_url": redis_server.url, "processes": 2}
    async with serve([lambda: FakeModel(gate=gate)], **shared) as here, serve(**shared) as there:
        url = (await here.post("/upscale", files=FILES, headers=ASYNC)).headers["location"]
        assert await state_of(there, url) == "queued"
        async with Redis.from_url(redis_server.url) as redis:
            await redis.flushall()
        seen = [(await there.get(url)).status_code, (await there.delete(url)).status_code]
        state = (await here.get(url)).json()["state"]
        gate.set()
    assert (seen, state) == ([503, 503], "queued")


async def test_unknown_jobs_are_404_and_an_unreachable_board_is_503(serve: Running, redis_server: RedisServer) -> None:
    async with serve(redis_url=redis_server.url) as client:
        assert (await client.get(f"/jobs/{'A' * 32}")).status_code == 404
        assert (await client.delete(f"/jobs/{'A' * 32}")).status_code == 404
    async with serve(redis_url="redis://127.0.0.1:1/0") as client:
        assert (await client.get(f"/jobs/{'A' * 32}")).status_code == 503
        assert (await client.delete(f"/jobs/{'A' * 32}")).status_code == 503


async def test_a_full_board_answers_503_rather_than_404_for_jobs_that_it_lacks(
    serve: Running, redis_server: RedisServer
) -> None:
    """The process that has just accepted one cannot show it; its client, at another process, would take it for lost."""
    async with serve(redis_url=redis_server.url) as client, Redis.from_url(redis_server.url) as redis:
        await redis.config_set("maxmemory", 1)
        try:
            await service_of(client).store.available()
            refused = await client.get(f"/jobs/{'E' * 32}")
        finally:
            await redis.config_set("maxmemory", 0)
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:lapsrn:problem:store-unavailable")
        assert "Retry-After" in refused.headers


async def test_requests_for_unknown_jobs_leave_nothing_in_redis(serve: Running, redis_server: RedisServer) -> None:
    """Otherwise a client could fill Redis for everybody by deleting unknown jobs."""
    async with serve(redis_url=redis_server.url) as client, Redis.from_url(redis_server.url) as redis:
        assert (await client.delete(f"/jobs/{'C' * 32}")).status_code == 404
        assert await redis.keys(f"{KEYS}job:{storage_key('C' * 32, '')}*") == []


async def test_data_written_by_another_program_is_not_taken_for_a_job(
    serve: Running, redis_server: RedisServer
) -> None:
    async with serve(redis_url=redis_server.url) as client, Redis.from_url(redis_server.url) as redis:
        key = f"{KEYS}job:{storage_key('D' * 32, '')}"
        await redis.hset(key, mapping={"document": b"\xff{", "leased_until": "soon"})
        assert (await client.get(f"/jobs/{'D' * 32}")).status_code == 404
        assert (await client.get(f"/jobs/{'D' * 32}/events")).status_code == 404


async def test_an_event_stream_of_another_process_survives_an_outage_without_a_traceback(
    serve: Running, redis_server: RedisServer
) -> None:
    gate = threading.Event()
    async with proxied(redis_server.port) as proxy:
        shared = {"redis_url": proxy.url, "processes": 2}
        async with serve([lambda: FakeModel(gate=gate)], **shared) as here, serve(**shared) as there:
            made = await here.post("/upscale", files=FILES, headers=ASYNC)
            url = made.headers["location"]
            await state_of(there, url)
            with structlog.testing.capture_logs() as logs:
                events = Exchange("GET", f"{url}/events")
                watching = asyncio.create_task(events.run(app_of(there)))
                await until(lambda: events.status)
                await proxy.stop()
                for each in (here, there):
                    assert not await service_of(each).store.available()
                assert (await there.get(url)).status_code == 503
                gate.set()
                await until(lambda: service_of(here).keeper.waiting_bytes)
                await proxy.start()
                for each in (here, there):
                    assert await service_of(each).store.available()
                await watching
            assert b'"state":"done"' in events.body
            assert [entry for entry in logs if entry["log_level"] in ("error", "critical")] == []
            assert (await there.get(url)).json()["state"] == "done"


async def test_a_job_of_a_dead_process_is_reported_lost(
    serve: Running, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reported within the lease, not after the ten minutes for which a finished job is remembered."""
    running = JobSnapshot(
        version=3,
        id="B" * 32,
        request_id="r",
        state="running",
        done_tiles=3,
        total_tiles=9,
        seconds_left=2.0,
        levels=(),
        error=None,
    )
    store = RedisStore(redis_server.url, 1000, 60)
    await store.board(600.0, 0.001).show(running.id, "", running.model_dump_json())
    monkeypatch.setattr(RedisStore, "board", lambda self, ttl, lease: RedisBoard(self._link, ttl, 0.001))
    async with serve(redis_url=redis_server.url) as there:
        answer = await there.get(f"/jobs/{running.id}")
        while answer.json()["state"] == "running":
            await asyncio.sleep(0.05)
            answer = await there.get(f"/jobs/{running.id}")
        assert answer.json()["state"] == "failed"
        assert answer.json()["error"]["type"] == "urn:lapsrn:problem:job-lost"
        assert answer.json()["error"]["detail"].endswith("Send the picture again.")
        assert '"state":"failed"' in (await there.get(f"/jobs/{running.id}/events")).text
    await store.close()


async def test_a_shown_state_is_kept_at_least_as_long_as_its_lease(redis_server: RedisServer) -> None:
    """Else a job of a process that died would be unknown before it is lost."""
    store = RedisStore(redis_server.url, 1000, 60)
    board = store.board(0.001, 60.0)
    await board.show("short", "", "a state")
    await asyncio.sleep(0.01)
    assert await board.read("short", "") == Shown("a state", leased=True, cancelled=False)
    await store.close()


class Board:
    """Keeps what is published, and can be away, for good or for the next calls."""

    away = 0

    def __init__(self) -> None:
        self.shown: list[dict[str, Any]] = []
        self.cancellations: list[str] = []
        self.calls = 0

    def _answer(self) -> None:
        self.calls += 1
        if self.away:
            self.away -= 1
            raise StoreUnavailable("away")

    async def show(self, job_id: str, owner: str, document: str) -> bool:
        self._answer()
        self.shown.append(json.loads(document))
        return False

    async def cancel(self, job_id: str, owner: str) -> bool:
        self._answer()
        self.cancellations.append(job_id)
        return True


class Publishing(Service):
    """Jobs that are published on a board."""

    def __init__(self) -> None:
        super().__init__(Clock())
        self.board = Board()
        self.directory = JobDirectory(self.jobs, self.board)  # type: ignore[arg-type]


@pytest.fixture
async def publishing(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Publishing]:
    monkeypatch.setattr("app.service.job_directory.POLL_SECONDS", 0.01)
    publishing = Publishing()
    yield publishing
    await asyncio.wait_for(publishing.directory.close(), 30)


async def test_a_cancellation_that_the_board_missed_is_published_when_the_job_ends(publishing: Publishing) -> None:
    board = publishing.board
    publishing.directory.announce(await publishing.begin("a"))
    await until(lambda: board.shown)
    board.away = 1
    await publishing.directory.cancel("a", "")
    await until(lambda: board.cancellations == ["a"])


async def test_a_state_is_published_until_the_webhook_of_the_job_has_ended(publishing: Publishing) -> None:
    hook: Any = Hook()
    job = await publishing.begin("a", hook=hook)
    publishing.directory.announce(job)
    await publishing.end(job)
    await until(lambda: publishing.board.shown[-1]["state"] == "done")
    assert publishing.board.shown[-1]["webhook"] == "pending"
    hook.state = "delivered"
    hook.on_change()
    await until(lambda: publishing.board.shown[-1]["webhook"] == "delivered")


async def test_the_end_of_a_job_is_published_when_the_board_is_back(publishing: Publishing) -> None:
    job = await publishing.begin("a")
    publishing.directory.announce(job)
    publishing.board.away = 3
    await publishing.end(job)
    await until(lambda: [each["state"] for each in publishing.board.shown[-1:]] == ["done"])


async def test_a_job_is_no_longer_published_once_it_is_forgotten(publishing: Publishing) -> None:
    job = await publishing.begin("a")
    publishing.board.away = 10**9
    publishing.directory.announce(job)
    await publishing.end(job)
    gone = weakref.ref(job)
    del job
    publishing.clock.now += 101.0
    await until(lambda: gone() is None)


async def test_a_service_that_stops_publishes_once_more_and_does_not_wait_for_the_board(publishing: Publishing) -> None:
    job = await publishing.begin("a")
    publishing.board.away = 10**9
    publishing.directory.announce(job)
    await publishing.end(job)
    await asyncio.wait_for(publishing.directory.close(), 30)
    calls = publishing.board.calls
    await asyncio.sleep(0.05)
    assert publishing.board.calls == calls > 0
