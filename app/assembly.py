"""Assembles the service from Settings and the parts of app.build, within the available memory."""

from collections.abc import Sequence
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

from app import build
from app.build import ModelSource
from app.engine import ModelFactory
from app.errors import StartupError
from app.gpu_metrics import watch_gpus
from app.memory import Available, Base, Division, available, divided, fitted
from app.metrics import Metrics
from app.process import threads
from app.results import JobBoard, MemoryStore, ResultStore
from app.service.codec_threads import CodecThreads
from app.service.service import Service
from app.service.webhooks import Sender
from app.settings import Settings
from app.webhook_rules import Rules
from model.memory import freed_memory_returned

if TYPE_CHECKING:
    from app.results.redis import RedisStore

_THREADS = 8
"""Threads besides those of the workers and the codec: the event loop's helpers, and decoder processes."""
_GPUS = Path("/proc/driver/nvidia/gpus")
"""Has an entry for each NVIDIA GPU of the machine."""
_REPLICAS_PER_CORE = 4
"""Maximum of LAPSRN_REPLICAS: one busy replica already uses a core, so a larger number is a mistake."""


def build_service(settings: Settings, models: Sequence[ModelFactory] | None = None) -> Service:
    """The service, not started yet, with limits that fit into its memory. `models` are those of `open_model`.

    Raises StartupError.
    """
    source = build.open_model(settings, models)
    settings, division = within_memory(settings, source)
    structlog.get_logger("lapsrn").info("memory in MiB", **division.mebibytes())
    codec_threads = CodecThreads(build.codec_threads(settings))
    threads.require(len(source.factories) + _THREADS)
    first: list[ModelSource] = [source]  # popped by the first engine, so that a reload can free it
    del source
    metrics = build_metrics()
    decoders = build.build_decoders(settings, metrics)
    if decoders is None and settings.decode == "process":
        structlog.get_logger("lapsrn").warning("this system has no decoder processes; decoding in this one")
    store, board = build_store(settings, metrics)
    return Service(
        settings,
        build.build_codec(settings, decoders),
        store,
        metrics,
        codec_threads,
        lambda: build.build_engine(settings, metrics, first.pop() if first else build.open_model(settings, models)),
        decoders=decoders,
        board=board,
        sender=build_sender(settings),
        returning_memory=freed_memory_returned,
    )


def build_sender(settings: Settings) -> Sender | None:
    """The sender of webhooks, if they are on."""
    if not settings.webhook_hosts:
        return None
    from app import webhooks

    rules = Rules.of(settings.webhook_hosts)
    return webhooks.Sender(rules, settings.webhook_keys, settings.webhook_timeout_seconds)


def within_memory(settings: Settings, source: ModelSource) -> tuple[Settings, Division]:
    """`settings` with limits that fit into the available memory, and its division. Raises StartupError.

    Replicas get equal parts of the memory.
    """
    memory = available()
    if settings.memory_bytes is not None:
        memory = Available(settings.memory_bytes, "LAPSRN_MEMORY_BYTES")
    if isinstance(settings.replicas, int) and settings.replicas > 1:
        part = f"the part of each of LAPSRN_REPLICAS={settings.replicas} in {memory.source}"
        memory = Available(memory.bytes // settings.replicas, part)
    base = Base(source.memory, build.decoder_count(settings), build.codec_threads(settings), source.accelerator)
    settings = fitted(settings, memory, base)
    return settings, divided(settings, memory, base)


def build_metrics() -> Metrics:
    """The service's collectors on a new registry, along with those of the process, of Python and of GPUs."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    metrics = Metrics(CollectorRegistry())
    metrics.built(build.package_version())
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=metrics.registry)
    watch_gpus(metrics.registry)
    return metrics


def build_store(settings: Settings, metrics: Metrics) -> tuple[ResultStore, JobBoard | None]:
    """The results store, and the board that shares jobs: in Redis if it is configured; otherwise in memory, and None.

    Raises StartupError for a malformed URL.
    """
    store = build_redis(settings, metrics)
    if store is None:
        return MemoryStore(settings.result_max_bytes, settings.result_ttl_seconds), None
    return store, store.board(settings.job_ttl_seconds, settings.job_lease_seconds)


def build_redis(settings: Settings, metrics: Metrics) -> "RedisStore | None":
    """The configured Redis; None if there is none. Raises StartupError for a malformed URL."""
    if settings.redis_url is None:
        return None
    from app.results.redis import RedisStore  # imports redis, which only this store needs

    url = settings.redis_url.get_secret_value()
    limits = settings.result_max_bytes, settings.result_ttl_seconds
    try:
        return RedisStore(url, *limits, on_emptied=metrics.store_emptied)
    except ValueError:  # its text and traceback may contain a part of the password
        raise StartupError(
            "LAPSRN_REDIS_URL: cannot be read as redis://:PASSWORD@HOST:PORT/NUMBER or unix:///PATH; write / # ? @ : "
            "and % in a password as %2F %23 %3F %40 %3A and %25, and leave out options that redis-py does not have"
        ) from None


def replica_count(settings: Settings) -> int:
    """The number of replicas: as set; `auto` is one for every three cores with a GPU and Redis, otherwise one.

    On a CPU, the network takes nearly all of the time and uses every core from a single process. Raises StartupError
    for more than _REPLICAS_PER_CORE: each would take memory and a process before it could refuse to start.
    """
    if settings.replicas != "auto":
        most = _REPLICAS_PER_CORE * build.cores()
        if settings.replicas > most:
            raise StartupError(
                f"LAPSRN_REPLICAS={settings.replicas} is more than {_REPLICAS_PER_CORE} for each available core; set "
                f"at most {most}, or auto"
            )
        return settings.replicas
    gpus = settings.devices != "cpu" and any(_GPUS.glob("*"))
    return max(1, build.cores() // 3) if gpus and settings.redis_url is not None else 1


def settings_of_replica(settings: Settings, count: int) -> Settings:
    """The settings for each of `count` replicas: an equal part of the cores unless numbers are set."""
    share = max(1, build.cores() // count)
    return settings.model_copy(
        update={
            "replicas": count,
            "cpu_workers": settings.cpu_workers or share,
            "codec_threads": settings.codec_threads or max(1, share // 2),
        }
    )
