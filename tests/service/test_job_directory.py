"""Jobs seen from another process, through a real Redis."""

import asyncio
import json
import threading

import httpx
import pytest

from bench.redis_server import RedisServer
from tests import pictures
from tests.api.raw import Exchange
from tests.conftest import Running, app_of, service_of, until
from tests.fakes import FakeModel

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


async def test_a_job_and_its_result_are_seen_from_the_other_process(serve: Running, redis_server: RedisServer) -> None:
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


async def test_a_job_is_cancelled_from_the_other_process(serve: Running, redis_server: RedisServer) -> None:
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


async def test_a_job_cancelled_at_home_is_gone_everywhere(serve: Running, redis_server: RedisServer) -> None:
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


async def test_unknown_jobs_are_404_and_a_board_that_is_away_is_503(serve: Running, redis_server: RedisServer) -> None:
    async with serve(redis_url=redis_server.url) as client:
        assert (await client.get(f"/jobs/{'A' * 32}")).status_code == 404
        assert (await client.delete(f"/jobs/{'A' * 32}")).status_code == 404
    async with serve(redis_url="redis://127.0.0.1:1/0") as client:
        assert (await client.get(f"/jobs/{'A' * 32}")).status_code == 503
        assert (await client.delete(f"/jobs/{'A' * 32}")).status_code == 503
