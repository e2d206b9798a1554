"""Warming up, readiness, draining, swapping weights, and a start that fails."""

import asyncio
import threading

import httpx
import pytest
import structlog
import uvicorn

from app.api import draining_server
from app.codec import Codec, Decoded
from app.errors import StartupError
from app.formats import INPUT_FORMATS
from app.main import create_app
from app.options import UpscaleOptions
from app.service.service import Phase
from app.settings import Settings
from tests import pictures
from tests.conftest import Running, app_of, running, service_of, until
from tests.fakes import FakeModel, worker

PNG = pictures.png(pictures.gray())


async def test_the_service_is_not_ready_while_warming_up(serve: Running) -> None:
    loaded = threading.Event()

    def slow() -> FakeModel:
        loaded.wait(timeout=30)
        return FakeModel()

    async with serve([slow], ready=False) as client:
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"status": "warming", "store": "ok", "decoders": "ok"})
        assert (await client.get("/healthz")).status_code == 200
        refused = await client.post("/upscale", files={"image": PNG})
        assert refused.json()["type"] == "urn:lapsrn:problem:warming-up"
        assert refused.headers["retry-after"] == "5"
        assert (await client.get("/model")).status_code == 503
        loaded.set()
        await service_of(client).warmed()
        assert (await client.get("/readyz")).json() == {"status": "ready", "store": "ok", "decoders": "ok"}
        assert (await client.post("/upscale", files={"image": PNG})).status_code == 200


async def test_a_model_that_cannot_be_built_fails_the_start(serve: Running) -> None:
    def broken() -> FakeModel:
        raise ValueError("these weights are for another network")

    async with serve([broken]) as client:
        assert service_of(client).phase == "failed"
        assert (await client.get("/healthz")).status_code == 503
        assert (await client.get("/readyz")).json()["status"] == "failed"


def test_missing_weights_fail_the_start_in_one_line(tmp_path_factory: pytest.TempPathFactory) -> None:
    missing = tmp_path_factory.mktemp("none") / "missing.safetensors"
    with pytest.raises(StartupError) as stopped:
        create_app(Settings(weights=missing))
    assert str(missing) in str(stopped.value)
    assert "\n" not in str(stopped.value)


async def test_draining_finishes_admitted_requests_and_refuses_new_ones(serve: Running) -> None:
    gate = threading.Event()
    async with serve([lambda: FakeModel(gate=gate)]) as client:
        service = service_of(client)
        admitted = asyncio.create_task(client.post("/upscale", files={"image": PNG}))
        await until(lambda: service.jobs.under_way)
        draining = asyncio.create_task(service.drain())
        await asyncio.sleep(0)
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (503, "draining")
        refused = await client.post("/upscale", files={"image": PNG})
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:lapsrn:problem:draining")
        assert refused.headers["retry-after"] == "5"
        assert (await client.get("/healthz")).status_code == 200
        assert not draining.done()
        gate.set()
        assert (await admitted).status_code == 200
        await draining


async def test_draining_ends_after_the_grace_time(serve: Running) -> None:
    gate = threading.Event()
    async with serve([lambda: FakeModel(gate=gate)], grace_seconds=0.05) as client:
        service = service_of(client)
        admitted = asyncio.create_task(client.post("/upscale", files={"image": PNG}))
        await until(lambda: service.jobs.under_way)
        await asyncio.wait_for(service.drain(), timeout=5)
        assert not admitted.done()
        gate.set()
        await admitted


@pytest.mark.parametrize("stuck", [True, False])
async def test_a_shutdown_that_does_not_end_is_abandoned_after_the_grace_time(
    serve: Running, monkeypatch: pytest.MonkeyPatch, stuck: bool
) -> None:
    """For example a thread in a driver, for which the application would wait forever."""

    class Lifespan:
        async def shutdown(self) -> None:
            if stuck:
                await asyncio.Event().wait()

    monkeypatch.setattr(draining_server, "LAST_SECONDS", 0.5)
    async with serve() as client:
        app = app_of(client)
        draining = draining_server.DrainingServer(
            uvicorn.Config(app, log_config=None), service_of(client), app.state.access
        )
        monkeypatch.setattr(draining, "servers", [], raising=False)
        monkeypatch.setattr(draining, "lifespan", Lifespan(), raising=False)
        await asyncio.wait_for(draining.shutdown(), timeout=10)
        assert draining.overdue is stuck


async def test_a_request_cut_off_by_the_shutdown_gets_an_error(serve: Running) -> None:
    """uvicorn cancels the tasks of requests that are not done at the end of the grace time."""
    gate = threading.Event()
    async with serve([lambda: FakeModel(gate=gate)]) as client:
        service = service_of(client)
        request = asyncio.create_task(client.post("/upscale", files={"image": PNG}))
        await until(lambda: service.engine.scheduler.in_flight)
        request.cancel()
        answer = await request
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:lapsrn:problem:draining")
        assert answer.headers["retry-after"] == "5"
        assert not service.jobs.under_way
        gate.set()


async def test_probes_are_logged_at_debug_level_unless_they_fail(serve: Running) -> None:
    async with serve() as client:
        phases: tuple[Phase, ...] = ("ready", "failed")
        for phase in phases:
            service_of(client).phase = phase
            with structlog.testing.capture_logs() as logs:
                for path in ("/healthz", "/readyz", "/metrics"):
                    await client.get(path)
            levels = [(entry["route"], entry["log_level"]) for entry in logs if entry["event"] == "request"]
            told = "debug" if phase == "ready" else "info"
            assert levels == [("/healthz", told), ("/readyz", told), ("/metrics", "debug")]


async def test_reloading_weights_loses_no_request() -> None:
    gate = threading.Event()
    names = iter(["old", "new"])
    app = create_app(Settings(), [worker(lambda: FakeModel(gate=gate, name=next(names)))])
    async with running(app) as client:
        service = service_of(client)
        admitted = asyncio.create_task(client.post("/upscale", files={"image": PNG}))
        await until(lambda: service.engine.scheduler.in_flight)
        reloading = asyncio.create_task(service.reload())
        await until(lambda: service.engine.first.name == "new")
        during = asyncio.create_task(client.post("/upscale", files={"image": PNG}))
        gate.set()
        assert (await admitted).status_code == 200
        assert (await during).status_code == 200
        await reloading
        assert (await client.get("/model")).json()["name"] == "new"
        metrics = (await client.get("/metrics")).text
        assert 'lapsrn_model_info{device="cpu",dtype="float32",name="new",sha256=""} 1.0' in metrics
        assert 'name="old"' not in metrics
        assert 'lapsrn_worker_up{device="cpu",worker="worker-0"} 1.0' in metrics


async def test_a_picture_that_is_being_decoded_during_a_reload_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoding, gate = threading.Event(), threading.Event()
    decode = Codec.decode

    def slow(codec: Codec, data: bytes, options: UpscaleOptions, client: str = "") -> Decoded:
        decoding.set()
        gate.wait(30)
        return decode(codec, data, options, client)

    monkeypatch.setattr(Codec, "decode", slow)
    names = iter(["old", "new"])
    app = create_app(Settings(), [worker(lambda: FakeModel(name=next(names)))])
    async with running(app) as client:
        posted = asyncio.create_task(client.post("/upscale", files={"image": PNG}))
        await until(decoding.is_set)
        service = service_of(client)
        reloading = asyncio.create_task(service.reload())
        await until(lambda: service.engine.first.name == "new")
        gate.set()
        answer = await posted
        assert (answer.status_code, answer.headers.get("x-upscale-model")) == (200, "old")
        await reloading


async def test_a_failed_reload_changes_nothing(serve: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve() as client:
        service = service_of(client)

        def refuse() -> None:
            raise StartupError("weights.safetensors is corrupt; restore it")

        monkeypatch.setattr(service, "_open_engine", refuse)
        with pytest.raises(StartupError):
            await service.reload()
        assert (await client.post("/upscale", files={"image": PNG})).status_code == 200


async def test_an_unreachable_store_degrades_the_service_but_pictures_are_made(serve: Running) -> None:
    async with serve(redis_url="redis://127.0.0.1:1/0") as client:
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()) == (
            200,
            {"status": "degraded", "store": "unavailable", "decoders": "ok"},
        )
        made = await client.post("/upscale", files={"image": PNG})
        assert made.status_code == 200
        assert "x-upscale-id" not in made.headers
        got = await client.get(f"/upscale?level=2&id={'A' * 32}")
        assert (got.status_code, got.json()["type"]) == (503, "urn:lapsrn:problem:store-unavailable")
        gone = await client.delete(f"/upscale?id={'A' * 32}")
        assert gone.status_code == 503


async def test_the_model_document_describes_the_network(client: httpx.AsyncClient) -> None:
    network = {"name": "fake_x4", "purpose": "", "levels": [2, 4], "margin": 9, "sha256": "", "scores": {}}
    network |= {"clean": False, "full_strength_of": "", "deep_of": ""}
    assert (await client.get("/model")).json() == {
        **network,
        "models": [network],
        "device": "cpu",
        "dtype": "float32",
        "workers": [{"name": "worker-0", "device": "cpu", "up": True, "restarts": 0}],
        "limits": {
            "max_input_bytes": 33554432,
            "max_input_pixels": 16777216,
            "max_output_pixels": 67108864,
            "formats": list(INPUT_FORMATS),
        },
    }


@pytest.mark.server
async def test_decoding_in_processes_gives_the_same_bytes(serve: Running) -> None:
    answers = []
    for decode in ("inline", "process"):
        async with serve(decode=decode, codec_threads=1) as client:
            answers.append(await client.post("/upscale", files={"image": PNG}))
            refused = await client.post("/upscale", files={"image": PNG[:-20]})
            assert refused.json()["type"] == "urn:lapsrn:problem:undecodable-picture"
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content == answers[1].content
