"""The service as a whole: its parts, its phase, and how it starts, reloads weights and stops."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import structlog

from app.codec import Codec
from app.engine import Engine
from app.errors import BadParameter, Draining, WarmingUp
from app.metrics import Metrics
from app.options import UpscaleOptions
from app.results import JobBoard, ResultStore
from app.service import plan
from app.service.client_quota import ClientQuota, FetchQuota
from app.service.codec_threads import CodecThreads
from app.service.decoder_watch import Decoders, DecoderState, watch
from app.service.job_directory import JobDirectory
from app.service.jobs import SHUTTING_DOWN, Jobs
from app.service.keeper import Keeper
from app.service.picture_budget import PictureBudget
from app.service.pipeline import Pipeline
from app.service.repeats import Repeats
from app.service.response_budget import ResponseBudget
from app.service.upload_budget import UploadBudget
from app.service.webhooks import Sender, Webhooks
from app.settings import Settings
from app.webhook_rules import Rules

Phase = Literal["warming", "ready", "leaving", "draining", "failed"]
"""While leaving, requests are still served, but readiness fails, so that load balancers send them elsewhere."""


class Service:
    """Everything that outlives a request. Routes use its parts."""

    def __init__(
        self,
        settings: Settings,
        codec: Codec,
        store: ResultStore,
        metrics: Metrics,
        threads: CodecThreads,
        open_engine: Callable[[], Engine],
        *,
        decoders: Decoders | None = None,
        board: JobBoard | None = None,
        sender: Sender | None = None,
        returning_memory: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """`open_engine` checks the weights and returns an engine for them, not started yet, or raises StartupError. It
        is called here, and again at every reload.

        `decoders` are started and closed with the service; None decodes in this process. `board` publishes jobs to
        other processes. `sender` sends webhooks; None turns them off. Memory that is freed inside `returning_memory`
        is returned to the system.
        """
        self.settings = settings
        self.store = store
        self.metrics = metrics
        self.phase: Phase = "warming"
        self.quota = ClientQuota()
        self.fetches = FetchQuota(settings.client_max_fetches)
        self.responses = ResponseBudget(settings.max_answer_bytes_in_flight, settings.write_timeout_seconds)
        self.uploads = UploadBudget(settings.max_body_bytes_in_flight, settings.body_timeout_seconds / 4)
        self.keeper = Keeper(store, metrics, settings.result_max_bytes, settings.store_retry_seconds)
        self.pictures = PictureBudget(settings.max_queue_bytes)
        pipeline = Pipeline(codec, self, metrics, threads, self.keeper, self.pictures)
        self.jobs = Jobs(pipeline, metrics, settings.job_ttl_seconds, settings.max_jobs)
        self.directory = JobDirectory(self.jobs, board)
        self.repeats = Repeats(self.directory, board, settings.max_jobs)
        rules = Rules.of(settings.webhook_hosts)
        self.webhooks = Webhooks(rules, sender, metrics, settings.max_webhooks, settings.webhook_tries)
        self._threads = threads
        self._open_engine = open_engine
        self._returning_memory = returning_memory
        self._decoders = decoders
        self._opened: Engine | None = open_engine()
        self._engine: Engine | None = None
        self._warming: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._reloading = asyncio.Lock()
        metrics.watch_store(lambda: store.size_bytes, lambda: store.state in ("ok", "emptied"))

    @property
    def accepting_engine(self) -> Engine:
        """The engine, for new work. Raises WarmingUp or Draining."""
        if self.phase == "draining":
            raise Draining(SHUTTING_DOWN)
        if self._engine is None:
            raise WarmingUp("The network is being loaded. Try again in a few seconds.")
        return self._engine

    @property
    def engine(self) -> Engine:
        """The current engine, even while draining: admitted work is finished on it. Raises WarmingUp."""
        return self._engine if self._engine is not None else self.accepting_engine

    def require_ready(self) -> None:
        """Raises WarmingUp or Draining unless new work is accepted."""
        _ = self.accepting_engine

    def check_level(self, level: int) -> None:
        """Raises BadParameter if no served model has this level."""
        if self._engine is not None and level not in self._engine.scales:
            allowed = ", ".join(map(str, self._engine.scales))
            raise BadParameter(f"level: {level} is not served; allowed are {allowed}.")

    def check(self, options: UpscaleOptions) -> str | None:
        """The model for new work with these options; None if that depends on the picture's size.

        Raises BadParameter, WarmingUp and Draining.
        """
        return plan.check(self.accepting_engine, options)

    @property
    def alive(self) -> bool:
        """False once the scheduler or every worker is dead; warming up counts as alive."""
        if self.phase == "failed":
            return False
        return self._engine is None or self._engine.status().alive

    @property
    def decoders(self) -> DecoderState:
        """Whether pictures can be decoded."""
        return "ok" if self._decoders is None else self._decoders.state

    @property
    def readiness(self) -> Literal["warming", "ready", "degraded", "leaving", "draining", "failed", "dead"]:
        """Whether new work should be sent here, from state that is known already: cheap enough for frequent probes."""
        if self.phase != "ready":
            return self.phase
        if self.decoders == "starting":
            return "warming"
        if not self.alive or self.decoders == "unavailable":
            return "dead"
        return "ready" if self.store.state == "ok" else "degraded"

    @property
    def backlog_seconds(self) -> float:
        """Estimated time until all admitted work is computed."""
        return 0.0 if self._engine is None else self._engine.scheduler.backlog_seconds()

    def measure(self) -> None:
        """Updates the gauges of the engine's queue."""
        if self._engine is not None:
            status = self._engine.status()
            self.metrics.queue(status.queue_tiles, status.queue_age_seconds)

    def start_decoders(self) -> None:
        """Starts a decoder process early, so that it warms up while the rest is loaded. `start` does so, too."""
        if self._decoders is not None:
            self._decoders.start()

    def start(self) -> None:
        """Starts loading and warming the network in the background. Can be called once only."""
        engine, self._opened = self._opened, None  # not kept, so that a reload frees the first weights
        if engine is None:
            raise RuntimeError("this service was started before; build another one")
        self.store.start()
        self.start_decoders()
        if self._decoders is not None:
            self._watching = asyncio.create_task(watch(self._decoders))
        self._warming = asyncio.create_task(self._warm(engine))

    async def warmed(self) -> None:
        """Waits until the network is warm or could not be loaded; see `phase`."""
        if self._warming is not None:
            await asyncio.shield(self._warming)

    async def drain(self) -> None:
        """Refuses new work and finishes what was admitted, oldest first, within the grace time."""
        self.phase = "draining"
        if self._engine is not None:
            self._engine.oldest_first()
        await self.jobs.drain(self.settings.grace_seconds)
        self.keeper.hurry()
        await self.webhooks.drain(self.settings.webhook_timeout_seconds)
        await self.directory.close()

    async def stop(self) -> None:
        """Drains, and closes everything."""
        for task in (self._warming, self._watching):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self.phase == "draining":  # a signal began the drain, and the grace time is over
            self.keeper.hurry()
        await self.drain()
        await self.webhooks.close()
        if self._engine is not None:
            await self._engine.stop(self.settings.grace_seconds)
        await self._threads.close()
        if self._decoders is not None:
            await asyncio.to_thread(self._decoders.close)
        await self.store.close()

    async def reload(self) -> Engine:
        """Opens the weights again, warms a second engine with them, and only then stops the first one.

        Upscales that have begun are finished on the first one, within the grace time. Raises StartupError when the
        weights do not pass their checks; the old ones remain in use.
        """
        async with self._reloading:
            before = self.accepting_engine
            after = await asyncio.to_thread(self._open_engine)
            await self._switch_to(after)
            await self.jobs.settled(self.settings.grace_seconds)  # their pictures may still have to enter its queue
            with self._returning_memory():
                await before.stop(0.0)
                del before
            for worker in after.status().workers:
                self.metrics.worker(worker.name, worker.device, worker.up)
            return after

    async def _warm(self, engine: Engine) -> None:
        log = structlog.get_logger("lapsrn")
        try:
            await self._switch_to(engine)
        except Exception as error:
            self.phase = "failed"
            log.error("the network could not be loaded", exc_info=error)
            return
        await self.store.available()
        if self.phase == "warming":
            self.phase = "ready"
        log.info("ready", model=engine.first.name, device=engine.first.device)

    async def _switch_to(self, engine: Engine) -> None:
        """Starts and warms an engine, and directs new work to it."""
        await engine.start()
        self._engine = engine
        self.metrics.models(
            {"name": each.name, "sha256": each.sha256, "device": each.device, "dtype": each.dtype}
            for each in engine.networks.values()
        )
