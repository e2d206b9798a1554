"""Builds the parts of the service from Settings, for the server and for the command line; importing does nothing."""

import contextlib
import functools
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from app.codec import Codec, DecodeLimits, Formulas
from app.codec.decoder_pool import DecoderPool
from app.codec.formats import readable
from app.engine import Engine, EngineConfig, ModelFactory
from app.engine.config import WarmUp
from app.errors import StartupError
from app.memory import Available, Base, Division, available, divided, fitted
from app.metrics import Metrics, watch_gpus
from app.results import JobBoard, MemoryStore, ResultStore
from app.service.codec_threads import CodecThreads
from app.service.service import Service
from app.service.webhooks import Sender
from app.settings import Settings
from app.webhook_rules import Rules
from model.color import RGB_FROM_YCBCR, YCBCR_FROM_RGB, YCBCR_OFFSET
from model.memory import freed_memory_returned
from model.resample import contributions, downsample_kernel, upsample_kernel

if TYPE_CHECKING:
    from model.backends.backend import Tiling
    from model.runtime import Weights


_GPUS = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Checked weights: a factory for each worker, and the engine configuration that suits their backend."""

    factories: Sequence[ModelFactory]
    engine: EngineConfig = field(default_factory=EngineConfig)
    memory: int = 0
    """Bytes of the host's memory that the networks take when they are warm."""
    accelerator: bool = False


def build_service(settings: Settings, models: Sequence[ModelFactory] | None = None) -> Service:
    """The service, not started yet, with limits that fit into its memory. `models` as in `open_model`.

    Raises StartupError.
    """
    source = open_model(settings, models)
    settings, division = within_memory(settings, source)
    structlog.get_logger("lapsrn").info("memory in MiB", **division.mebibytes())
    first: list[ModelSource] = [source]  # the first engine takes it, so that a reload frees it
    del source
    metrics = build_metrics()
    decoders = build_decoders(settings, metrics)
    store, board = build_store(settings, metrics)
    return Service(
        settings,
        build_codec(settings, decoders),
        store,
        metrics,
        CodecThreads(codec_threads(settings)),
        lambda: build_engine(settings, metrics, first.pop() if first else open_model(settings, models)),
        decoders,
        board,
        build_sender(settings),
        freed_memory_returned,
    )


def build_sender(settings: Settings) -> Sender | None:
    """What sends webhooks, where they are on."""
    if not settings.webhook_hosts:
        return None
    from app import webhooks

    rules = Rules.of(settings.webhook_hosts)
    return webhooks.Sender(rules, settings.webhook_keys, settings.webhook_timeout_seconds)


def within_memory(settings: Settings, source: ModelSource) -> tuple[Settings, Division]:
    """`settings` with limits that fit into the memory there is, and how it is divided. Raises StartupError."""
    memory = available()
    if settings.memory_bytes is not None:
        memory = Available(settings.memory_bytes, "LAPSRN_MEMORY_BYTES")
    base = Base(source.memory, decoder_count(settings), codec_threads(settings), source.accelerator)
    settings = fitted(settings, memory, base)
    return settings, divided(settings, memory, base)


def build_metrics() -> Metrics:
    """The collectors on a registry of their own, with those of the process, of Python and of GPUs."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    metrics = Metrics(CollectorRegistry())
    metrics.built(package_version())
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=metrics.registry)
    watch_gpus(metrics.registry)
    return metrics


def build_formulas() -> Formulas:
    """The project's one definition of colour and resampling, as the codec wants it."""
    return Formulas(
        YCBCR_FROM_RGB,
        YCBCR_OFFSET,
        RGB_FROM_YCBCR,
        functools.cache(upsample_kernel),
        functools.cache(downsample_kernel),
        contributions,
    )


def build_limits(settings: Settings) -> DecodeLimits:
    """What the decoder accepts: of LAPSRN_FORMATS, what it has the packages for."""
    formats = readable(settings.formats)
    return DecodeLimits(settings.max_input_bytes, settings.max_input_pixels, settings.max_output_pixels, formats)


def build_codec(settings: Settings, decoders: DecoderPool | None = None) -> Codec:
    """The codec with this project's formulas and the settings' limits; it decodes in `decoders` if there are any."""
    read = None if decoders is None else decoders.read
    return Codec(build_formulas(), build_limits(settings), threads=codec_threads(settings), read=read)


def build_decoders(settings: Settings, metrics: Metrics) -> DecoderPool | None:
    """Processes to decode in, not started yet; None: decoding is done in this one."""
    if settings.decode == "inline":
        return None
    metrics.decoders_up(False)
    return DecoderPool(
        decoder_count(settings),
        build_limits(settings),
        timeout_seconds=settings.decode_timeout_seconds,
        observer=metrics,
    )


def decoder_count(settings: Settings) -> int:
    """Processes to decode in: one more than a client may use."""
    return 0 if settings.decode == "inline" else max(2, codec_threads(settings)) + 1


def build_store(settings: Settings, metrics: Metrics) -> tuple[ResultStore, JobBoard | None]:
    """Where results are kept, and where jobs are shown to other processes: Redis if one is named, else memory."""
    if settings.redis_url is None:
        return MemoryStore(settings.result_max_bytes, settings.result_ttl_seconds), None
    from app.results.redis import RedisStore  # brings redis, which nobody needs without one

    url = settings.redis_url.get_secret_value()
    store = RedisStore(url, settings.result_max_bytes, settings.result_ttl_seconds, on_emptied=metrics.store_emptied)
    return store, store.board(settings.job_ttl_seconds, settings.job_lease_seconds)


def build_engine(settings: Settings, metrics: Metrics, source: ModelSource, warm_up: WarmUp | None = None) -> Engine:
    """An engine with one worker per factory and the settings' limits, not started yet.

    `warm_up` overrides the device's own choice.
    """
    config = replace(
        source.engine,
        max_tiles=settings.max_queue_tiles,
        max_bytes=settings.max_queue_bytes,
        hang_seconds=settings.hang_seconds,
    )
    return Engine(source.factories, config if warm_up is None else replace(config, warm_up=warm_up), metrics)


def engine_config(tiling: "Tiling") -> EngineConfig:
    """The engine's defaults, with the tile shapes and batch sizes of a backend."""
    return EngineConfig(**asdict(tiling))


def open_model(settings: Settings, models: Sequence[ModelFactory] | None) -> ModelSource:
    """The networks' factories, after their weights have been checked. Raises StartupError in one line."""
    if models is not None:
        return ModelSource(models)
    weights_files(settings)  # what is missing is told before anything is read
    from model import runtime
    from model.backends.registry import choose
    from model.devices import devices as devices_of

    with _as_startup_error():
        weights = open_weights(settings)
    with _as_startup_error("LAPSRN_DEVICES or --device: "):
        devices = devices_of(settings.devices)
    with _as_startup_error("LAPSRN_BACKEND: "):
        chosen = [choose(each.info.config, devices[0], settings.dtype, settings.backend) for each in weights]
    names = [each.info.name for each in weights]
    if len(set(names)) < len(names):
        raise StartupError(f"weights files must differ in name, as that is what model= asks for: {', '.join(names)}")
    found = weights[0].info.sha256
    if settings.weights_sha256 not in (None, found):
        raise StartupError(
            f"{settings.weights} has SHA-256 {found}, not the {settings.weights_sha256} of "
            "LAPSRN_WEIGHTS_SHA256; restore the file or correct the setting"
        )
    if devices == ["cpu"]:
        devices *= settings.cpu_workers or cores()
    factories = [
        functools.partial(runtime.load, weights, device, settings.dtype, settings.worker_threads, settings.backend)
        for device in devices
    ]
    backend = chosen[0].backend
    memory, accelerator = backend.memory(len(weights), len(factories)), devices[0] != "cpu"
    return ModelSource(factories, engine_config(backend.tiling(devices[0])), memory, accelerator)


@contextlib.contextmanager
def _as_startup_error(prefix: str = "") -> Iterator[None]:
    """Turns every error into a StartupError; `prefix` names the setting that it is about."""
    try:
        yield
    except Exception as error:
        raise StartupError(f"{prefix}{error}") from error


def weights_files(settings: Settings) -> list[list[Path]]:
    """The weights files of all networks, the first network's first, in groups. None of them is read.

    A folder stands for those of its files whose names are not taken by then, which are a group. Raises StartupError
    when a file or a folder is missing.
    """
    groups = [[settings.weights]]
    for place in settings.other_weights:
        taken = {file.stem for group in groups for file in group}
        inside = (file for file in place.glob("*.safetensors") if file.stem not in taken)
        groups.append(sorted(inside) if place.is_dir() else [place])
    for number, group in enumerate(groups):
        for file in group:
            if not file.exists():
                setting = "LAPSRN_MORE_WEIGHTS" if number else "LAPSRN_WEIGHTS"
                raise StartupError(f"no weights at {file}; set {setting}, or train some with lapsrn train")
    return groups


def open_weights(settings: Settings) -> "list[Weights]":
    """Every network's weights, read and checked, the first one first. Raises model.checkpoint.WeightsError.

    A folder adds its files whose names are not in use yet, sorted by name, networks with a purpose of their own last:
    a request that names no network gets the first one with its scale, which should be one for pictures of any kind.
    Those that go together as two ends of clean-up are joined.
    """
    from model.runtime import Weights, join

    found: list[Weights] = []
    for group in weights_files(settings):
        found += sorted(map(Weights.open, group), key=lambda each: (each.info.purpose != "", each.info.name))
    join(found)
    return found


def codec_threads(settings: Settings) -> int:
    """Threads that write large pictures beside the network: what is set, or half the cores."""
    return settings.codec_threads or max(1, cores() // 2)


def replica_count(settings: Settings) -> int:
    """Processes to serve with: what is set; `auto` is one for every three cores beside a GPU, and else one.

    On a CPU the network takes nearly all of the time and uses every core from one process.
    """
    if settings.replicas != "auto":
        return settings.replicas
    gpus = settings.devices != "cpu" and any(_GPUS.glob("*"))
    return max(1, cores() // 3) if gpus and settings.redis_url is not None else 1


def settings_of_replica(settings: Settings, count: int) -> Settings:
    """Those of each of `count` replicas: an equal part of the memory, and of the cores where no number is set."""
    share = max(1, cores() // count)
    return settings.model_copy(
        update={
            "replicas": 1,
            "memory_bytes": (settings.memory_bytes or available().bytes) // count,
            "cpu_workers": settings.cpu_workers or share,
            "codec_threads": settings.codec_threads or max(1, share // 2),
        }
    )


def cores() -> int:
    """Cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def package_version() -> str:
    """The installed package's version."""
    try:
        return version("lapsrn")
    except PackageNotFoundError:
        return "0.0.0"
