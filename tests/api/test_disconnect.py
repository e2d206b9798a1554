"""Clients that leave, and deadlines: the work goes with them and every counter returns to zero."""

import asyncio
import threading

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from app.api.connections import Connections
from app.api.disconnect import ClientGone, unless_client_leaves
from app.api.server import bounded_protocol
from app.settings import Settings
from tests import pictures
from tests.api.raw import Exchange
from tests.api.wire import SECONDS, connected
from tests.cli.live import listening
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
    assert (service.jobs.under_way, service.quota.under_way(), service.uploads.held_bytes) == (0, 0, 0)
    assert (await counters(client))["lapsrn_requests_in_flight"] == 0.0


async def occupied(client: httpx.AsyncClient, app: FastAPI) -> "asyncio.Task[Exchange]":
    """A request that the gated network holds, so that later ones wait in the queue."""
    task = asyncio.create_task(Exchange("POST", "/upscale", RAW, [PNG]).run(app))
    await until(lambda: service_of(client).engine.scheduler.in_flight)
    return task


async def test_disconnecting_removes_waiting_tiles_from_the_queue(serve: Running) -> None:
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


async def test_disconnecting_during_the_upload_ends_the_request(client: httpx.AsyncClient, app: FastAPI) -> None:
    exchange = Exchange("POST", "/upscale", RAW, [PNG[:10]], stall=True)
    exchange.leave.set()
    await exchange.run(app)
    assert exchange.status == 499
    assert (await counters(client))['lapsrn_cancelled_total{stage="read"}'] == 1.0
    await at_rest(client)


async def test_many_clients_may_disconnect_at_once(serve: Running) -> None:
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


async def test_a_full_queue_is_503_immediately(serve: Running) -> None:
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


async def test_work_that_ends_before_a_disconnect_returns_its_result() -> None:
    async def never() -> dict[str, str]:
        await asyncio.Event().wait()
        raise AssertionError

    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert await unless_client_leaves(never, work()) == 7


async def test_a_disconnect_cancels_the_work_and_waits_for_its_cleanup() -> None:
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


async def test_errors_of_the_work_are_passed_on() -> None:
    async def never() -> dict[str, str]:
        await asyncio.Event().wait()
        raise AssertionError

    async def work() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await unless_client_leaves(never, work())


def test_a_disconnect_reaches_the_request_being_answered_even_if_others_are_pipelined() -> None:
    """If only the last request of a pipeline noticed, the others' pictures would be computed for nobody."""
    began, left = list[str](), threading.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            began.append(scope["path"])
            while (await receive())["type"] != "http.disconnect":
                pass
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            left.set()

    protocol = bounded_protocol(Settings(), Connections(1000, 1000))
    with listening(application, http=protocol, ws="none", lifespan="off") as url:
        with connected(url) as connection:
            connection.sendall(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(3)))
            connection.settimeout(0.1)
            with pytest.raises(TimeoutError):
                connection.recv(1)
        assert left.wait(SECONDS)
    assert began == ["/0"]
