"""Metrics: names are a contract, and known work gives exact counts."""

import asyncio
import re
import sys
import threading
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from app.gpu_metrics import watch_gpus
from app.metrics import DECODER_LOSSES, NOT_KEPT, STAGES, Metrics
from tests import pictures
from tests.conftest import Running, service_of, until
from tests.fakes import FakeModel

Tiles = NDArray[np.float32]

PNG = pictures.png(pictures.gray())
CONTRACT = {
    "lapsrn_http_requests_total": ("counter", {"route", "method", "status"}),
    "lapsrn_http_request_duration_seconds": ("histogram", {"route", "method", "status"}),
    "lapsrn_upscale_duration_seconds": ("histogram", {"model", "size", "status"}),
    "lapsrn_jobs_total": ("counter", {"outcome"}),
    "lapsrn_webhooks_total": ("counter", {"outcome"}),
    "lapsrn_webhook_tries_total": ("counter", {"result"}),
    "lapsrn_webhooks_pending": ("gauge", set()),
    "lapsrn_build_info": ("gauge", {"version"}),
    "lapsrn_worker_busy_seconds_total": ("counter", {"worker"}),
    "lapsrn_stage_duration_seconds": ("histogram", {"stage"}),
    "lapsrn_batch_tiles": ("histogram", set()),
    "lapsrn_queue_tiles": ("gauge", set()),
    "lapsrn_queue_age_seconds": ("gauge", set()),
    "lapsrn_requests_in_flight": ("gauge", set()),
    "lapsrn_worker_up": ("gauge", {"worker", "device"}),
    "lapsrn_worker_restarts_total": ("counter", set()),
    "lapsrn_rejected_total": ("counter", {"reason"}),
    "lapsrn_cancelled_total": ("counter", {"stage"}),
    "lapsrn_connections": ("gauge", set()),
    "lapsrn_connections_dropped_total": ("counter", {"reason"}),
    "lapsrn_pixels_total": ("counter", {"direction"}),
    "lapsrn_clean_up_total": ("counter", {"strength", "reason"}),
    "lapsrn_result_store_bytes": ("gauge", set()),
    "lapsrn_store_up": ("gauge", set()),
    "lapsrn_store_emptied_total": ("counter", set()),
    "lapsrn_results_not_kept_total": ("counter", {"reason"}),
    "lapsrn_decoder_up": ("gauge", set()),
    "lapsrn_decoder_wait_seconds": ("histogram", set()),
    "lapsrn_decoder_restarts_total": ("counter", {"reason"}),
    "lapsrn_model_info": ("gauge", {"name", "sha256", "device", "dtype"}),
}


async def samples(client: httpx.AsyncClient) -> dict[str, float]:
    """name{label="value",...} -> value, buckets left out."""
    found = {}
    for family in text_string_to_metric_families((await client.get("/metrics")).text):
        for sample in family.samples:
            labels = ",".join(f'{key}="{value}"' for key, value in sorted(sample.labels.items()))
            if not sample.name.endswith("_bucket"):
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


async def test_every_documented_metric_is_exposed(client: httpx.AsyncClient) -> None:
    await client.post("/upscale", files={"image": PNG})
    await client.post("/upscale", content=b"", headers={"content-type": "image/png"})
    service_of(client).metrics.cancelled("queue")
    families = {}
    for family in text_string_to_metric_families((await client.get("/metrics")).text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {key for sample in family.samples for key in sample.labels} - {"le"}
        families[name] = (family.type, labels)
    assert {name: found for name, found in families.items() if re.match("lapsrn_(?!gpu_)", name)} == CONTRACT


async def test_known_work_gives_exact_counts(client: httpx.AsyncClient) -> None:
    for scale in (2, 4, 4):
        made = await client.post(f"/upscale?scale={scale}", files={"image": PNG})
    await client.get(made.headers["content-location"])
    await client.get(f"/upscale?level=2&id={'A' * 32}")
    await client.post("/upscale", content=b"no", headers={"content-type": "image/png"})
    await client.post("/upscale?scale=5", files={"image": PNG})
    await client.get("/no/such/place")
    await client.request("BREW", "/upscale")
    found = await samples(client)
    counted = {name: value for name, value in found.items() if value and name.startswith("lapsrn_http_requests_total")}
    prefix = "lapsrn_http_requests_total"
    assert counted == {
        f'{prefix}{{method="POST",route="/upscale",status="200"}}': 3.0,
        f'{prefix}{{method="GET",route="/upscale",status="200"}}': 1.0,
        f'{prefix}{{method="GET",route="/upscale",status="404"}}': 1.0,
        f'{prefix}{{method="POST",route="/upscale",status="415"}}': 1.0,
        f'{prefix}{{method="POST",route="/upscale",status="422"}}': 1.0,
        f'{prefix}{{method="GET",route="unmatched",status="404"}}': 1.0,
        f'{prefix}{{method="other",route="/upscale",status="405"}}': 1.0,
    }
    durations = "lapsrn_http_request_duration_seconds_count"
    assert found[f'{durations}{{method="POST",route="/upscale",status="2xx"}}'] == 3.0
    assert found[f'{durations}{{method="POST",route="/upscale",status="4xx"}}'] == 2.0
    assert found[f'{durations}{{method="other",route="/upscale",status="4xx"}}'] == 1.0
    upscales = "lapsrn_upscale_duration_seconds_count"
    assert {name: value for name, value in found.items() if name.startswith(upscales)} == {
        f'{upscales}{{model="fake_x4",size="small",status="2xx"}}': 3.0,
        f'{upscales}{{model="fake_x4",size="none",status="4xx"}}': 1.0,
        f'{upscales}{{model="",size="none",status="4xx"}}': 1.0,
    }
    assert found['lapsrn_rejected_total{reason="unsupported-format"}'] == 1.0
    assert found['lapsrn_rejected_total{reason="bad-parameter"}'] == 1.0
    assert found['lapsrn_pixels_total{direction="in"}'] == 3 * 54.0
    assert found['lapsrn_pixels_total{direction="out"}'] == 54.0 * (4 + 16 + 16)
    assert found["lapsrn_batch_tiles_sum"] == 3.0
    assert found["lapsrn_requests_in_flight"] == 0.0
    stages = {stage: found[f'lapsrn_stage_duration_seconds_count{{stage="{stage}"}}'] for stage in STAGES}
    assert stages == {"read": 4.0, "decode": 3.0, "queue": 3.0, "infer": 3.0, "merge": 3.0, "encode": 3.0}
    assert found["lapsrn_result_store_bytes"] == service_of(client).store.size_bytes > 0


async def test_the_time_of_an_upscale_is_counted_by_the_pixels_of_its_result(client: httpx.AsyncClient) -> None:
    await client.post("/upscale", files={"image": pictures.png(pictures.gray(260, 260))})
    labels = {"model": "fake_x4", "size": "medium", "status": "2xx"}
    registry = service_of(client).metrics.registry
    assert registry.get_sample_value("lapsrn_upscale_duration_seconds_count", labels) == 1.0


def test_a_worker_that_has_come_up_has_one_series() -> None:
    metrics = Metrics(CollectorRegistry())
    metrics.worker("worker-1", "", up=False)
    assert metrics.registry.get_sample_value("lapsrn_worker_up", {"worker": "worker-1", "device": ""}) == 0.0
    metrics.worker("worker-1", "cuda:1", up=True)
    (family,) = (each for each in metrics.registry.collect() if each.name == "lapsrn_worker_up")
    assert [(each.labels, each.value) for each in family.samples] == [({"worker": "worker-1", "device": "cuda:1"}, 1.0)]


@pytest.mark.parametrize(
    ("pixels", "size"),
    [(0, "none"), (1, "small"), (2**20, "small"), (2**20 + 1, "medium"), (2**24, "medium"), (2**24 + 1, "large")],
)
def test_pictures_are_counted_by_size_class(pixels: int, size: str) -> None:
    metrics = Metrics(CollectorRegistry())
    metrics.upscaled("lapsrn_x4", pixels, 200, 0.1)
    labels = {"model": "lapsrn_x4", "size": size, "status": "2xx"}
    assert metrics.registry.get_sample_value("lapsrn_upscale_duration_seconds_count", labels) == 1.0


@pytest.mark.parametrize(
    ("strength", "label"), [(0.0, "0"), (0.125, "0.25"), (0.25, "0.25"), (0.26, "0.5"), (0.875, "1"), (1.0, "1")]
)
def test_clean_up_is_counted_by_strength_class(strength: float, label: str) -> None:
    metrics = Metrics(CollectorRegistry())
    metrics.cleaned(strength, "asked")
    labels = {"strength": label, "reason": "asked"}
    assert metrics.registry.get_sample_value("lapsrn_clean_up_total", labels) == 1.0


def test_decoders_are_up_if_decoding_needs_no_processes() -> None:
    assert Metrics(CollectorRegistry()).registry.get_sample_value("lapsrn_decoder_up") == 1.0


async def test_jobs_are_counted_by_how_they_ended(serve: Running) -> None:
    failing = threading.Event()

    def model() -> FakeModel:
        fake = FakeModel()
        whole = fake.run

        def run(
            tiles: Tiles, scale: int, *, full_precision: bool = False, clean: float = 0.0, compressed: bool = True
        ) -> dict[int, Tiles]:
            if failing.is_set():
                raise RuntimeError("a broken device")
            return whole(tiles, scale, full_precision=full_precision, clean=clean)

        fake.run = run  # type: ignore[method-assign]
        return fake

    async with serve([model]) as client:
        later = {"prefer": "respond-async"}
        outcomes = service_of(client).metrics.registry.get_sample_value

        async def ended(outcome: str, body: bytes) -> None:
            accepted = await client.post("/upscale", files={"image": body}, headers=later)
            assert accepted.status_code == 202
            await until(lambda: outcomes("lapsrn_jobs_total", {"outcome": outcome}) == 1.0)

        await ended("done", PNG)
        await ended("refused", b"no picture")
        failing.set()
        await ended("failed", PNG)
        busy = service_of(client).metrics.registry.get_sample_value(
            "lapsrn_worker_busy_seconds_total", {"worker": "worker-0"}
        )
        assert busy is not None
        assert busy > 0.0


async def test_gauges_show_queued_and_running_work(serve: Running) -> None:
    gate = threading.Event()
    async with serve([lambda: FakeModel(gate=gate)]) as client:
        first = asyncio.create_task(client.post("/upscale", files={"image": PNG}))
        await until(lambda: service_of(client).engine.scheduler.in_flight)
        rest = [asyncio.create_task(client.post("/upscale", files={"image": PNG})) for _ in range(3)]
        await until(lambda: service_of(client).engine.status().queue_tiles == 3)
        found = await samples(client)
        assert found["lapsrn_requests_in_flight"] == 4.0
        assert found["lapsrn_queue_tiles"] == 3.0
        assert found["lapsrn_queue_age_seconds"] > 0.0
        assert found['lapsrn_worker_up{device="cpu",worker="worker-0"}'] == 1.0
        gate.set()
        await asyncio.gather(first, *rest)
        found = await samples(client)
        assert (found["lapsrn_requests_in_flight"], found["lapsrn_queue_tiles"]) == (0.0, 0.0)
        assert found["lapsrn_queue_age_seconds"] == 0.0


async def test_a_failed_job_is_counted_once(client: httpx.AsyncClient) -> None:
    made = await client.post("/upscale", files={"image": PNG[:-20]}, headers={"prefer": "respond-async"})
    await client.get(f"{made.headers['location']}/events")
    assert (await samples(client))['lapsrn_rejected_total{reason="undecodable-picture"}'] == 1.0


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain"),
        ("*/*", "text/plain"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text"),
    ],
)
async def test_metrics_are_exposed_in_both_text_formats(
    client: httpx.AsyncClient, accept: str, content_type: str
) -> None:
    answer = await client.get("/metrics", headers={"accept": accept})
    assert answer.headers["content-type"].startswith(content_type)


def test_applications_do_not_share_metrics() -> None:
    first, second = Metrics(CollectorRegistry()), Metrics(CollectorRegistry())
    first.batch(3, 0.1, "worker-0")
    assert b"lapsrn_batch_tiles_sum 3.0" in first.expose("")[0]
    assert b"lapsrn_batch_tiles_sum 0.0" in second.expose("")[0]


def test_only_the_current_models_are_exposed() -> None:
    metrics = Metrics(CollectorRegistry())
    for name in ("one", "two"):
        metrics.models([{"name": name, "sha256": "s", "device": "cpu", "dtype": "float32"}])
    assert [line for line in metrics.expose("")[0].decode().splitlines() if line.startswith("lapsrn_model_info")] == [
        'lapsrn_model_info{device="cpu",dtype="float32",name="two",sha256="s"} 1.0'
    ]


def test_gpu_metrics_are_exposed_if_there_is_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = SimpleNamespace(
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetMemoryInfo=lambda _: SimpleNamespace(used=5, total=80),
        nvmlDeviceGetUtilizationRates=lambda _: SimpleNamespace(gpu=25),
        nvmlDeviceGetTemperature=lambda _, __: 41,
        nvmlDeviceGetPowerUsage=lambda _: 70500,
    )
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    metrics = Metrics(CollectorRegistry())
    assert watch_gpus(metrics.registry)
    shown = metrics.expose("")[0].decode()
    for line in ("utilization_ratio", "memory_used_bytes", "memory_total_bytes", "temperature_celsius", "power_watts"):
        assert f'lapsrn_gpu_{line}{{device="cuda:0"}}' in shown
    assert 'lapsrn_gpu_utilization_ratio{device="cuda:0"} 0.25' in shown
    assert 'lapsrn_gpu_power_watts{device="cuda:0"} 70.5' in shown


def test_no_gpu_metrics_are_exposed_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert not watch_gpus(CollectorRegistry())


def test_every_label_value_is_exposed_from_the_start() -> None:
    """Otherwise the first event of a kind would not count as an increase, and no alert would fire."""
    shown = Metrics(CollectorRegistry()).expose("")[0].decode()
    for name, reasons in {"results_not_kept": NOT_KEPT, "decoder_restarts": DECODER_LOSSES}.items():
        for reason in reasons:
            assert f'lapsrn_{name}_total{{reason="{reason}"}} 0.0' in shown
    for status in (200, 500, 503, 504):
        assert f'lapsrn_http_requests_total{{method="POST",route="/upscale",status="{status}"}} 0.0' in shown
