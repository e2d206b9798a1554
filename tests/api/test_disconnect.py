"""Clients that leave, and deadlines: the work goes with them and every counter returns to zero."""

import asyncio
import threading

import httpx
import pytest
from fastapi import FastAPI

from app.api.disconnect import ClientGone, unless_client_leaves
from tests import pictures
from tests.api.raw import Exchange
from tests.conftest import Running, app_of, service_of, until
from tests.fakes import FakeModel

PNG = pictures.png(pictures.gray())
RAW = {"content-type": "image/png"}


async def counters(client: httpx.AsyncClient) -> dict[str, float]:
    text = (await client.get("/metrics")).text
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line[0] != "#"}


async def at_rest(client: httpx.AsyncClient) -> None:
    service = service_of(client)
    scheduler = service.engine.scheduler
    assert (scheduler.requests, scheduler.waiting()[0], scheduler.bytes_under_way) == (0, 0, 0)
    assert (service.jobs.under_way, service.quota.under_way(), service.budget.held_bytes) == (0, 0, 0)
    assert (await counters(client))["lapsrn_requests_in_flight"] == 0.0


async def occupied(client: httpx.AsyncClient, app: FastAPI) -> "asyncio.Task[Exchange]":
    """A request that the gated network holds, so that later ones wait in the queue."""
    task = asyncio.create_task(Exchange("POST", "/upscale", RAW, [PNG]).run(app))
    await until(lambda: service_of(client).engine.scheduler.in_flight)
    return task


async def test_leaving_while_the_tiles_wait_takes_them_out(serve: Running) -> None:
    gate = threading.Event()
    async with serve([lambda: FakeModel(gate=gate)]) as client:
        app = app_of(client)
        first = await occupied(client, app)
        second = Exchange("POST", "/upscale", RAW, [PNG])
        task = asyncio.create_task(second.run(app))
        await until(lambda: service_of(client).engine.status().queue_tiles)
        second.leave.set()
        await task
        assert second.status == 499
        assert service_of(client).engine.status().queue_tiles == 0
        gate.set()
        assert (await first).status == 200
        assert (await counters(client))['lapsrn_cancelled_total{stage="queue"}'] == 1.0
        await at_rest(client)


async def test_leaving_while_the_body_is_read(client: httpx.AsyncClient, app: FastAPI) -> None:
    exchange = Exchange("POST", "/upscale", RAW, [PNG[:10]], stall=True)
    exchange.leave.set()
    await exchange.run(app)
    assert exchange.status == 499
    assert (await counters(client))['lapsrn_cancelled_total{stage="read"}'] == 1.0
    await at_rest(client)


async def test_many_leave_at_once(serve: Running) -> None:
    gate = threading.Event()
    async with serve([lambda: FakeModel(gate=gate)], client_max_concurrent=1000) as client:
        app = app_of(client)
        first = await occupied(client, app)
        exchanges = [Exchange("POST", "/upscale", RAW, [PNG]) for _ in range(100)]
        tasks = [asyncio.create_task(exchange.run(app)) for exchange in exchanges]
        await until(lambda: service_of(client).engine.status().queue_tiles == 100)
        for exchange in exchanges:
            exchange.leave.set()
        await asyncio.gather(*tasks)
        gate.set()
        await first
        assert (await counters(client))['lapsrn_cancelled_total{stage="queue"}'] == 100.0
        await at_rest(client)


async def test_a_passed_deadline_is_504_and_frees_the_queue(serve: Running) -> None:
    gate = threading.Event()
    async with serve([lambda: FakeModel(gate=gate)], deadline_seconds=0.1) as client:
        answer = await client.post("/upscale", files={"image": PNG})
        assert answer.status_code == 504
        assert answer.json()["type"] == "urn:lapsrn:problem:deadline-exceeded"
        gate.set()
        await until(lambda: not service_of(client).engine.scheduler.in_flight)
        await at_rest(client)
        assert (await counters(client))['lapsrn_rejected_total{reason="deadline-exceeded"}'] == 1.0


async def test_a_full_queue_is_503_at_once(serve: Running) -> None:
    gate = threading.Event()
    async with serve([lambda: FakeModel(gate=gate)], max_queue_tiles=1) as client:
        first = await occupied(client, app_of(client))
        answer = await client.post("/upscale", files={"image": PNG})
        assert answer.status_code == 503
        assert answer.json()["type"] == "urn:lapsrn:problem:queue-full"
        assert int(answer.headers["retry-after"]) >= 1
        gate.set()
        assert (await first).status == 200
        await at_rest(client)


async def test_work_that_ends_first_wins() -> None:
    async def never() -> dict[str, str]:
        await asyncio.Event().wait()
        raise AssertionError

    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert await unless_client_leaves(never, work()) == 7


async def test_work_is_cancelled_and_has_cleaned_up_before_the_call_returns() -> None:
    cleaned = False

    async def gone() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def work() -> None:
        nonlocal cleaned
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned = True

    with pytest.raises(ClientGone):
        await unless_client_leaves(gone, work())
    assert cleaned


async def test_errors_of_the_work_come_through() -> None:
    async def never() -> dict[str, str]:
        await asyncio.Event().wait()
        raise AssertionError

    async def work() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await unless_client_leaves(never, work())
