"""Builds the parts of the service from Settings, for the server and for the command line; importing does nothing."""

import functools
import importlib
import os
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from app.codec import Codec, DecodeLimits, Formulas
from app.codec.decoder_pool import DecoderPool
from app.engine import Engine, EngineConfig
from app.engine.config import WarmUp
from app.errors import StartupError
from app.metrics import Metrics, watch_gpus
from app.results import JobBoard, MemoryStore, ResultStore
from app.service.codec_threads import CodecThreads
from app.service.service import ModelFactory, ModelSource, Service
from app.settings import Settings
from model.color import RGB_FROM_YCBCR, YCBCR_FROM_RGB, YCBCR_OFFSET
from model.resample import upsample_kernel


def build_service(settings: Settings, models: Sequence[ModelFactory] | None = None) -> Service:
    """The service, not started yet. `models` as in `open_model`. Raises StartupError."""
    metrics = build_metrics()
    decoders = build_decoders(settings, metrics)
    store, board = build_store(settings, metrics)
    return Service(
        settings,
        build_codec(settings, decoders),
        store,
        metrics,
        CodecThreads(codec_threads(settings)),
        functools.partial(open_model, settings, models),
        functools.partial(build_engine, settings, metrics),
        decoders,
        board,
    )


def build_metrics() -> Metrics:
    """The collectors on a registry of their own, with those of the process, of Python and of GPUs."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    metrics = Metrics(CollectorRegistry())
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=metrics.registry)
    watch_gpus(metrics.registry)
    return metrics


def build_formulas() -> Formulas:
    """The project's one definition of colour and resampling, as the codec wants it."""
    return Formulas(YCBCR_FROM_RGB, YCBCR_OFFSET, RGB_FROM_YCBCR, upsample_kernel)


def build_limits(settings: Settings) -> DecodeLimits:
    """What the decoder accepts."""
    return DecodeLimits(
        settings.max_input_bytes, settings.max_input_pixels, settings.max_output_pixels, settings.formats
    )


def build_codec(settings: Settings, decoders: DecoderPool | None = None) -> Codec:
    """The codec with this project's formulas and the settings' limits; it decodes in `decoders` if there are any."""
    read = None if decoders is None else decoders.read
    return Codec(build_formulas(), build_limits(settings), threads=codec_threads(settings), read=read)


def build_decoders(settings: Settings, metrics: Metrics) -> DecoderPool | None:
    """Processes to decode in, not started yet; None where decoding is done in this one."""
    if settings.decode == "inline":
        return None
    metrics.decoders_up(False)
    return DecoderPool(
        max(2, codec_threads(settings)),
        build_limits(settings),
        timeout_seconds=settings.decode_timeout_seconds,
        observer=metrics,
    )


def build_store(settings: Settings, metrics: Metrics) -> tuple[ResultStore, JobBoard | None]:
    """Where results are kept, and where jobs are shown to other processes: Redis if one is named, else memory."""
    if settings.redis_url is None:
        return MemoryStore(settings.result_max_bytes, settings.result_ttl_seconds), None
    from app.results.redis import RedisStore  # brings redis, which nobody needs without one

    url = settings.redis_url.get_secret_value()
    store = RedisStore(url, settings.result_max_bytes, settings.result_ttl_seconds, on_emptied=metrics.store_emptied)
    return store, store.board(settings.job_ttl_seconds, settings.job_lease_seconds)


def build_engine(settings: Settings, metrics: Metrics, source: ModelSource, warm_up: WarmUp | None = None) -> Engine:
    """An engine with one worker per factory, and the settings' limits; `warm_up` overrides the device's own choice."""
    config = replace(
        engine_config(source),
        max_tiles=settings.max_queue_tiles,
        max_bytes=settings.max_queue_bytes,
        hang_seconds=settings.hang_seconds,
    )
    return Engine(source.factories, config if warm_up is None else replace(config, warm_up=warm_up), metrics)


def engine_config(source: ModelSource) -> EngineConfig:
    """The engine's defaults for where these models run, and what computes them."""
    details = source.details
    return EngineConfig.for_device(str(details.get("device", "cpu")), str(details.get("backend", "torch")))


def open_model(settings: Settings, models: Sequence[ModelFactory] | None) -> ModelSource:
    """The network's factories, after its weights have been checked. Raises StartupError in one line."""
    if models is not None:
        return ModelSource(models)
    more = settings.companions
    for file, setting in [(settings.weights, "LAPSRN_WEIGHTS"), *((file, "LAPSRN_MORE_WEIGHTS") for file in more)]:
        if not file.is_file():
            raise StartupError(f"no weights at {file}; set {setting}, or train some with lapsrn train")
    names = [file.stem for file in (settings.weights, *more)]
    if len(set(names)) < len(names):
        raise StartupError(f"weights files must differ in name, as that is what model= asks for: {', '.join(names)}")
    runtime = importlib.import_module("model.runtime")  # brings torch, which is slow, and not needed for fakes
    try:
        details, *others = (runtime.describe(file) for file in (settings.weights, *more))
        devices = runtime.devices(settings.devices)
        config = runtime.LapSRNConfig(**details["config"])
        dtype, backend = runtime.kernels(config, devices[0], settings.dtype, settings.backend)
    except Exception as error:
        raise StartupError(str(error)) from error
    if settings.weights_sha256 not in (None, details["sha256"]):
        raise StartupError(
            f"{settings.weights} has SHA-256 {details['sha256']}, not the {settings.weights_sha256} of "
            "LAPSRN_WEIGHTS_SHA256; restore the file or correct the setting"
        )
    if devices == ["cpu"]:
        devices *= settings.cpu_workers or cores()
    factories = [
        functools.partial(
            runtime.load,
            settings.weights,
            device,
            settings.dtype,
            settings.worker_threads,
            settings.backend,
            more,
        )
        for device in devices
    ]
    return ModelSource(factories, {**details, "device": devices[0], "dtype": dtype, "backend": backend}, others)


def codec_threads(settings: Settings) -> int:
    """Threads that write large pictures beside the network: what is set, or half the cores."""
    return settings.codec_threads or max(1, cores() // 2)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def package_version() -> str:
    """The installed package's version."""
    try:
        return version("lapsrn")
    except PackageNotFoundError:
        return "0.0.0"
