"""The composition root: builds everything from Settings, and nothing at import."""

import contextlib
import functools
import importlib
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import NoReturn

import structlog
from fastapi import FastAPI
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from pydantic import ValidationError
from pydantic_settings import SettingsError

from app import logging
from app.api.application import build_application, build_metrics_application
from app.api.server import listen, run_server
from app.api.service import ModelFactory, ModelSource, Service
from app.api.threads import CodecThreads
from app.codec import Codec, Formulas, Limits
from app.codec.isolation import DecoderProcesses
from app.engine import Engine, EngineConfig
from app.errors import StartupError
from app.metrics import Metrics, watch_gpus
from app.results import MemoryStore, RedisStore, ResultStore
from app.settings import Settings
from app.web import STATIC
from model.color import RGB_FROM_YCBCR, YCBCR_FROM_RGB, YCBCR_OFFSET
from model.resample import upsample_kernel


def create_app(settings: Settings, models: Sequence[ModelFactory] | None = None) -> FastAPI:
    """The application, ready for an ASGI server; its lifespan starts and stops the engine.

    `models` has one factory per worker; None is the real network, from `settings.weights`. Raises StartupError.
    """
    disable_created_metrics()  # type: ignore[no-untyped-call]
    metrics = Metrics(CollectorRegistry())
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=metrics.registry)
    watch_gpus(metrics.registry)
    decoders = build_decoders(settings)
    store = build_store(settings)
    service = Service(
        settings,
        build_codec(settings, decoders),
        store,
        metrics,
        CodecThreads(codec_threads(settings)),
        functools.partial(open_model, settings, models),
        functools.partial(build_engine, settings, metrics),
        [] if decoders is None else [decoders],
        store.board(settings.job_ttl_seconds) if isinstance(store, RedisStore) else None,
    )
    return build_application(service, package_version(), STATIC)


def serve(settings: Settings | None = None) -> int:
    """`lapsrn serve`: runs until a signal ends it; the exit code. Raises StartupError before it listens."""
    settings = settings or load_settings()
    logging.configure(settings.log_level, settings.log_format)
    for name in unknown_settings(os.environ):
        structlog.get_logger("lapsrn").warning("not a setting; see docs/configuration.md", variable=name)
    listener = listen(settings.host, settings.port)
    if settings.metrics_port is None:
        return run_server(create_app(settings), listener, None, None)
    metrics_listener = listen(settings.host, settings.metrics_port)
    app = create_app(settings)
    return run_server(app, listener, build_metrics_application(app.state.service), metrics_listener)


def main() -> NoReturn:
    """`python -m app.main`: as `serve`, with a start that fails told in one line on standard error."""
    try:
        code = serve()
    except StartupError as error:
        print(f"lapsrn: {error}", file=sys.stderr)
        code = 2
    leave(code)


def leave(code: int) -> NoReturn:
    """Ends the process, even where a thread hangs in a device driver and would turn the exit into an abort."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # a full disk costs log lines, not the exit code
            stream.flush()
    os._exit(code)


def load_settings() -> Settings:
    """Settings from the environment. Raises StartupError with one line that names every wrong setting."""
    try:
        return Settings()
    except SettingsError as error:
        raise StartupError(f"a setting that should be JSON is not: {error}") from None
    except ValidationError as error:
        raise StartupError("; ".join(_complaint(dict(item)) for item in error.errors(include_url=False))) from None


def unknown_settings(names: Iterable[str]) -> list[str]:
    """Those of `names` that start with LAPSRN_ and mean nothing: slips, which would otherwise go unseen."""
    known = {f"LAPSRN_{name.upper()}" for name in Settings.model_fields} | {"LAPSRN_SERVER", "LAPSRN_API_KEY"}
    return sorted(name for name in names if name.startswith("LAPSRN_") and name not in known)


def _complaint(item: dict[str, object]) -> str:
    """'LAPSRN_PORT: Input should be ...' for one of pydantic's errors, without echoing secrets."""
    location = item["loc"]
    path = [str(part) for part in location] if isinstance(location, tuple) else []
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"LAPSRN_{path[0].upper()}{''.join(f'[{part}]' for part in path[1:])}: {message}" if path else message


def build_formulas() -> Formulas:
    """The project's one definition of colour and resampling, as the codec wants it."""
    return Formulas(YCBCR_FROM_RGB, YCBCR_OFFSET, RGB_FROM_YCBCR, upsample_kernel)


def build_limits(settings: Settings) -> Limits:
    """What the decoder accepts."""
    return Limits(settings.max_input_bytes, settings.max_input_pixels, settings.max_output_pixels, settings.formats)


def build_codec(settings: Settings, decoders: DecoderProcesses | None = None) -> Codec:
    """The codec with this project's formulas and the settings' limits; it decodes in `decoders` if there are any."""
    read = None if decoders is None else decoders.read
    return Codec(build_formulas(), build_limits(settings), threads=codec_threads(settings), read=read)


def build_decoders(settings: Settings) -> DecoderProcesses | None:
    """Processes to decode in, not started yet; None where decoding is done in this one."""
    if settings.decode == "inline":
        return None
    return DecoderProcesses(
        max(2, codec_threads(settings)), build_limits(settings), timeout_seconds=settings.decode_timeout_seconds
    )


def build_store(settings: Settings) -> ResultStore:
    """Redis where one is named, else memory."""
    if settings.redis_url is not None:
        return RedisStore(settings.redis_url.get_secret_value(), settings.result_max_bytes, settings.result_ttl_seconds)
    return MemoryStore(settings.result_max_bytes, settings.result_ttl_seconds)


def build_engine(settings: Settings, metrics: Metrics, source: ModelSource) -> Engine:
    """An engine with one worker per factory, and the settings' limits."""
    config = replace(
        engine_config(source),
        max_tiles=settings.max_queue_tiles,
        max_bytes=settings.max_queue_bytes,
        hang_seconds=settings.hang_seconds,
    )
    return Engine(source.factories, config, metrics)


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


if __name__ == "__main__":
    main()
