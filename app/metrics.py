"""The service's Prometheus collectors, on a registry that is passed in. Units: seconds, bytes, tiles, pixels."""

import itertools
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder

from app.errors import all_slugs

NOT_KEPT = ("too-large", "full", "unavailable")
DECODER_LOSSES = ("died", "timeout", "malformed")
OUTCOMES = ("done", "refused", "failed", "cancelled")
"""Outcomes of jobs: "refused" is the client's fault or a lack of room, "failed" the service's fault."""
SIZES: Mapping[str, float] = {"small": 2**20, "medium": 2**24, "large": float("inf")}
"""Size classes of results, with the maximum number of pixels."""
CLEAN_STRENGTHS = ("0", "0.25", "0.5", "0.75", "1")
"""Upper bounds of the classes of clean-up strengths."""
CLEAN_REASONS = ("nothing", "asked", "jpeg", "webp", "avif", "grid", "noise", "area", "aliased")
WEBHOOK_RESULTS = ("ok", "status", "unreachable", "timeout", "refused")
STAGES = ("read", "decode", "queue", "infer", "merge", "encode")
_STATUSES = ("200", "202", "500", "503", "504")
"""Statuses of POST /upscale that the alerts use: answered, accepted as a job, failed and refused."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    20.0,
    30.0,
    60.0,
    120.0,
    300.0,
)
"""Buckets of durations. 20 s is the limit of LapsrnSlow: a quantile is exact at the bounds of buckets only."""
_TILES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)


class Metrics:
    """The collectors, and methods that update them; also the observer of the engine and the decoders."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Registers everything on `registry`. Label values come from fixed sets, so that cardinality is bounded."""
        self.registry = registry
        self._requests = Counter(
            "lapsrn_http_requests_total", "HTTP requests answered", ["route", "method", "status"], registry=registry
        )
        self._request_seconds = Histogram(
            "lapsrn_http_request_duration_seconds",
            "From the first byte read to the last byte sent",
            ["route", "method", "status"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._stage_seconds = Histogram(
            "lapsrn_stage_duration_seconds", "Time in each stage", ["stage"], buckets=_SECONDS, registry=registry
        )
        self._upscale_seconds = Histogram(
            "lapsrn_upscale_duration_seconds",
            "From the first byte read of a POST /upscale to the last byte sent, by the result's size",
            ["model", "size", "status"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._jobs = Counter("lapsrn_jobs_total", "Jobs that have ended", ["outcome"], registry=registry)
        self._webhooks = Counter(
            "lapsrn_webhooks_total", "Webhooks that were delivered or given up", ["outcome"], registry=registry
        )
        self._webhook_tries = Counter(
            "lapsrn_webhook_tries_total", "Attempts to deliver a webhook", ["result"], registry=registry
        )
        self._webhooks_pending = Gauge(
            "lapsrn_webhooks_pending", "Webhooks of jobs that are under way or not delivered", registry=registry
        )
        self._build = Gauge("lapsrn_build_info", "1, with the version of the service", ["version"], registry=registry)
        self._busy = Counter(
            "lapsrn_worker_busy_seconds_total", "Time in calls of the network", ["worker"], registry=registry
        )
        self._batch_tiles = Histogram("lapsrn_batch_tiles", "Tiles per batch run", buckets=_TILES, registry=registry)
        self._queue_tiles = Gauge("lapsrn_queue_tiles", "Tiles waiting for a worker", registry=registry)
        self._queue_age = Gauge(
            "lapsrn_queue_age_seconds", "Age of the oldest picture that no worker has begun", registry=registry
        )
        self._in_flight = Gauge(
            "lapsrn_requests_in_flight", "Upscale requests and jobs accepted and not yet finished", registry=registry
        )
        self._worker_up = Gauge(
            "lapsrn_worker_up", "1 while the worker serves", ["worker", "device"], registry=registry
        )
        self._worker_restarts = Counter("lapsrn_worker_restarts_total", "Workers replaced", registry=registry)
        self._rejected = Counter("lapsrn_rejected_total", "Upscales refused or failed", ["reason"], registry=registry)
        self._cancelled = Counter(
            "lapsrn_cancelled_total", "Upscales whose client left or cancelled, by stage", ["stage"], registry=registry
        )
        self._connections = Gauge("lapsrn_connections", "Connections open on the service's port", registry=registry)
        self._connections_dropped = Counter(
            "lapsrn_connections_dropped_total",
            "Connections closed because there were too many, or because a response was not read",
            ["reason"],
            registry=registry,
        )
        self._pixels = Counter("lapsrn_pixels_total", "Pixels of upscaled pictures", ["direction"], registry=registry)
        self._cleaned = Counter(
            "lapsrn_clean_up_total",
            "Pictures by their strength of clean-up, and what it was chosen for",
            ["strength", "reason"],
            registry=registry,
        )
        self._store_bytes = Gauge("lapsrn_result_store_bytes", "Bytes of finished pictures kept", registry=registry)
        self._store_up = Gauge("lapsrn_store_up", "1 while results can be kept and fetched", registry=registry)
        self._store_emptied = Counter(
            "lapsrn_store_emptied_total", "Times that the store was found to have lost everything", registry=registry
        )
        self._not_kept = Counter(
            "lapsrn_results_not_kept_total", "Results that the store did not take", ["reason"], registry=registry
        )
        self._decoder_wait = Histogram(
            "lapsrn_decoder_wait_seconds", "Waiting for a free decoder process", buckets=_SECONDS, registry=registry
        )
        self._decoder_restarts = Counter(
            "lapsrn_decoder_restarts_total", "Decoder processes replaced", ["reason"], registry=registry
        )
        self._decoder_up = Gauge("lapsrn_decoder_up", "1 while pictures can be decoded", registry=registry)
        self._model_info = Gauge(
            "lapsrn_model_info",
            "1 for every network that is served",
            ["name", "sha256", "device", "dtype"],
            registry=registry,
        )
        self._start_at_zero()

    def _start_at_zero(self) -> None:
        """Creates every series in advance: Prometheus does not count a series that appears with 1 as an increase."""
        for status in _STATUSES:
            self._requests.labels("/upscale", "POST", status)
        for slug in all_slugs():
            self._rejected.labels(slug)
        for stage in STAGES:
            self._stage_seconds.labels(stage)
            self._cancelled.labels(stage)
        for outcome in OUTCOMES:
            self._jobs.labels(outcome)
        for outcome in ("delivered", "failed"):
            self._webhooks.labels(outcome)
        for result in WEBHOOK_RESULTS:
            self._webhook_tries.labels(result)
        for reason in ("too-many", "unread", "slow"):
            self._connections_dropped.labels(reason)
        for direction in ("in", "out"):
            self._pixels.labels(direction)
        for strength, reason in itertools.product(CLEAN_STRENGTHS, CLEAN_REASONS):
            if strength == "0" or reason != "nothing":
                self._cleaned.labels(strength, reason)
        for reason in NOT_KEPT:
            self._not_kept.labels(reason)
        for reason in DECODER_LOSSES:
            self._decoder_restarts.labels(reason)
        self._decoder_up.set(1)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """An HTTP request was answered; `route` is a template such as /jobs/{job_id}, or "unmatched"."""
        known = method if method in _METHODS else "other"
        self._requests.labels(route, known, str(status)).inc()
        self._request_seconds.labels(route, known, _class(status)).observe(seconds)

    def upscaled(self, model: str, pixels: int, status: int, seconds: float) -> None:
        """A POST /upscale was answered, with a result of `pixels` or 0; `model` is a served model or ""."""
        size = next(name for name, most in SIZES.items() if pixels <= most) if pixels else "none"
        self._upscale_seconds.labels(model, size, _class(status)).observe(seconds)

    def job_ended(self, outcome: str) -> None:
        """A job has ended; `outcome` is one of OUTCOMES."""
        self._jobs.labels(outcome).inc()

    def webhook_tried(self, result: str) -> None:
        """A delivery was attempted; `result` is one of WEBHOOK_RESULTS."""
        self._webhook_tries.labels(result).inc()

    def webhook_ended(self, outcome: str) -> None:
        """A webhook was "delivered", or has finally "failed"."""
        self._webhooks.labels(outcome).inc()

    def webhooks_pending(self, count: int) -> None:
        """`count` webhooks are to be delivered, now or when their jobs end."""
        self._webhooks_pending.set(count)

    def built(self, version: str) -> None:
        """Sets the version of the service."""
        self._build.labels(version).set(1)

    def stage(self, name: str, seconds: float) -> None:
        """A stage of a request took `seconds`; `name` is one of STAGES."""
        self._stage_seconds.labels(name).observe(seconds)

    def batch(self, tiles: int, seconds: float, worker: str) -> None:
        """A worker ran a batch."""
        self._batch_tiles.observe(tiles)
        self._busy.labels(worker).inc(seconds)

    def queue(self, tiles: int, age: float) -> None:
        """`tiles` are waiting, the oldest for `age` seconds."""
        self._queue_tiles.set(tiles)
        self._queue_age.set(age)

    def worker(self, worker: str, device: str, up: bool) -> None:
        """A worker came up or went down; `device` is "" until it has been up."""
        if device:
            self._worker_up.remove(worker, "")
        self._worker_up.labels(worker, device).set(int(up))

    def worker_restarted(self, worker: str) -> None:
        """A dead worker was replaced."""
        self._worker_restarts.inc()

    def upscale_began(self) -> None:
        """An upscale was accepted for work."""
        self._in_flight.inc()

    def upscale_ended(self) -> None:
        """An accepted upscale ended, with any outcome."""
        self._in_flight.dec()

    def rejected(self, reason: str) -> None:
        """An upscale was refused or failed; `reason` is the last part of the problem's type."""
        self._rejected.labels(reason).inc()

    def cancelled(self, stage: str) -> None:
        """The client left, or cancelled its job, during `stage`."""
        self._cancelled.labels(stage).inc()

    def connections(self, count: int) -> None:
        """`count` connections are open."""
        self._connections.set(count)

    def connection_dropped(self, reason: str) -> None:
        """A connection was closed by the service; `reason` is "too-many", "unread" or "slow"."""
        self._connections_dropped.labels(reason).inc()

    def pixels(self, pixels_in: int, pixels_out: int) -> None:
        """A picture was upscaled."""
        self._pixels.labels("in").inc(pixels_in)
        self._pixels.labels("out").inc(pixels_out)

    def cleaned(self, strength: float, reason: str) -> None:
        """A picture was upscaled with this clean-up strength, 0..1; `reason` is one of CLEAN_REASONS."""
        self._cleaned.labels(next(each for each in CLEAN_STRENGTHS if strength <= float(each)), reason).inc()

    def decoder_wait(self, seconds: float) -> None:
        """A picture waited `seconds` for a free decoder process."""
        self._decoder_wait.observe(seconds)

    def decoder_lost(self, reason: str) -> None:
        """A decoder process was replaced; `reason` is one of DECODER_LOSSES."""
        self._decoder_restarts.labels(reason).inc()

    def decoders_up(self, up: bool) -> None:
        """Whether decoder processes can be started."""
        self._decoder_up.set(int(up))

    def watch_store(self, size_bytes: Callable[[], int], up: Callable[[], bool]) -> None:
        """Reads the store's size and whether it works at every scrape."""
        self._store_bytes.set_function(size_bytes)
        self._store_up.set_function(up)

    def store_emptied(self) -> None:
        """The store was found to have lost everything."""
        self._store_emptied.inc()

    def result_not_kept(self, reason: str) -> None:
        """The store did not take a result; `reason` is one of NOT_KEPT."""
        self._not_kept.labels(reason).inc()

    def models(self, infos: Iterable[Mapping[str, str]]) -> None:
        """Replaces the served networks: the name, sha256, device and dtype of each."""
        self._model_info.clear()
        for info in infos:
            self._model_info.labels(**info).set(1)

    def expose(self, accept: str) -> tuple[bytes, str]:
        """All metrics as text, and its content type, in the dialect that `accept` (a header) asks for."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type


def _class(status: int) -> str:
    """The class of a status, such as "2xx"."""
    return f"{status // 100}xx"
