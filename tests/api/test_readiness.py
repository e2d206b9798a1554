"""GET /readyz: what keeps new work away, and what only degrades the service."""

import asyncio
import functools
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from app.codec.decoder_pool import DecoderPool
from bench.redis_server import RedisServer
from tests import pictures
from tests.conftest import Running, service_of, until
from tests.tcp_proxy import proxied

FILES = {"image": pictures.png(pictures.gray())}
ASYNC = {"prefer": "respond-async"}


@pytest.mark.slow
async def test_the_service_is_not_ready_if_its_decoders_do_not_start(
    serve: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every picture would be refused, and a load balancer would not notice."""
    missing = tmp_path / "missing"
    missing.touch()
    program = (
        f"import os; os.path.exists({str(missing)!r}) and sys.exit('no decoder'); "
        "from app.codec.decoder_process import main; main(int(sys.argv[2]), int(sys.argv[3]))"
    )
    monkeypatch.setattr("app.build.DecoderPool", functools.partial(DecoderPool, program=program))
    monkeypatch.setattr("app.service.decoder_watch.CHECK_SECONDS", 0.01)
    async with serve(decode="process") as client:
        assert "lapsrn_decoder_up 0.0" in (await client.get("/metrics")).text
        refused = await client.post("/upscale", files=FILES)
        assert refused.status_code == 503
        assert refused.json()["type"] == "urn:lapsrn:problem:decoders-unavailable"
        assert "retry-after" in refused.headers
        ready = await client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json() == {"status": "dead", "store": "ok", "decoders": "unavailable"}
        missing.unlink()
        await until(lambda: service_of(client).decoders == "ok")
        ready = await client.get("/readyz")
        assert ready.json() == {"status": "ready", "store": "ok", "decoders": "ok"}
        assert (await client.post("/upscale", files=FILES)).status_code == 200
        assert "lapsrn_decoder_up 1.0" in (await client.get("/metrics")).text


@pytest.mark.slow
async def test_the_service_is_not_ready_before_its_decoders_are(
    serve: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = "import time; time.sleep(600)"
    monkeypatch.setattr("app.build.DecoderPool", functools.partial(DecoderPool, program=program))
    async with serve(decode="process") as client:
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["status"], ready.json()["decoders"]) == (503, "warming", "starting")


async def ended(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    """A job's document once it has ended; its events end with it."""
    await client.get(f"{url}/events")
    document: dict[str, Any] = (await client.get(url)).json()
    return document


@pytest.mark.server
async def test_a_hanging_store_does_not_delay_requests(serve: Running, redis_server: RedisServer) -> None:
    """Readiness and pictures do not wait for it: once it is known to hang, nothing more is sent to it."""
    async with proxied(redis_server.port) as proxy, serve(redis_url=proxy.url) as client:
        made = await client.post("/upscale", files=FILES)
        assert made.headers["x-upscale-id"]
        proxy.hang()
        await service_of(client).store.available()
        taken = proxy.taken
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["status"], ready.json()["store"]) == (200, "degraded", "unavailable")
        made = await client.post("/upscale", files=FILES)
        assert (made.status_code, "x-upscale-id" in made.headers) == (200, False)
        assert (await client.get("/upscale?level=2&id=A")).status_code == 503
        metrics = (await client.get("/metrics")).text
        assert proxy.taken - taken < 1000  # a background probe or two, and no picture
        assert "lapsrn_store_up 0.0" in metrics
        assert 'lapsrn_results_not_kept_total{reason="unavailable"} 1.0' in metrics
        proxy.go_on()
        assert await service_of(client).store.available()
        assert (await client.get("/readyz")).json()["status"] == "ready"
        assert "lapsrn_store_up 1.0" in (await client.get("/metrics")).text


@pytest.mark.server
async def test_a_full_or_emptied_store_degrades_the_service(
    serve: Running, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(redis_url=redis_server.url) as client, Redis.from_url(redis_server.url) as redis:
        store = service_of(client).store
        await redis.config_set("maxmemory", 1)
        await store.available()
        ready = (await client.get("/readyz")).json()
        made = await client.post("/upscale", files=FILES)
        await redis.config_set("maxmemory", 0)
        assert (ready["status"], ready["store"]) == ("degraded", "full")
        assert (made.status_code, "x-upscale-id" in made.headers) == (200, False)
        await store.available()
        assert (await client.get("/readyz")).json()["store"] == "full"  # a moment ago nothing fitted
        with monkeypatch.context() as later:
            later.setattr("app.results.redis_link._FULL_SECONDS", 0.0)
            assert (await client.get("/readyz")).json()["status"] == "ready"
        await redis.flushall()
        await store.available()
        ready = (await client.get("/readyz")).json()
        assert (ready["status"], ready["store"]) == ("degraded", "emptied")
        metrics = (await client.get("/metrics")).text
        assert "lapsrn_store_emptied_total 1.0" in metrics
        assert "lapsrn_store_up 1.0" in metrics
        assert 'lapsrn_results_not_kept_total{reason="full"} 1.0' in metrics


async def test_a_job_that_ends_during_an_outage_of_the_store_fails_with_the_reason(serve: Running) -> None:
    async with serve(redis_url="redis://127.0.0.1:1/0", store_retry_seconds=0) as client:
        made = await client.post("/upscale", files=FILES, headers=ASYNC)
        document = await ended(client, made.headers["location"])
        assert document["state"] == "failed"
        assert document["error"]["type"] == "urn:lapsrn:problem:store-unavailable"
        assert "the results store did not answer" in document["error"]["detail"]


@pytest.mark.server
async def test_a_job_that_ends_during_an_outage_of_the_store_waits_for_it(
    serve: Running, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.service.keeper.RETRY_SECONDS", 0.01)
    async with proxied(redis_server.port) as proxy, serve(redis_url=proxy.url) as client:
        await proxy.stop()
        await service_of(client).store.available()
        made = await client.post("/upscale", files=FILES, headers=ASYNC)
        url = made.headers["location"]
        await until(lambda: service_of(client).keeper.waiting_bytes)
        assert (await client.get(url)).json()["state"] == "running"
        await proxy.start()
        document = await ended(client, url)
        assert document["state"] == "done"
        assert pictures.opened((await client.get(document["results"]["2"])).content).shape == (12, 18)


async def test_shutdown_does_not_wait_for_the_store(serve: Running) -> None:
    settings = {"redis_url": "redis://127.0.0.1:1/0", "store_retry_seconds": 6000, "grace_seconds": 0.01}
    async with asyncio.timeout(60), serve(**settings) as client:
        await client.post("/upscale", files=FILES, headers=ASYNC)
        await until(lambda: service_of(client).keeper.waiting_bytes)
    assert not service_of(client).jobs.under_way
