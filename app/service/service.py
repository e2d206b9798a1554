"""The service as a whole: what it is made of, which phase it is in, and how it starts, swaps weights and stops."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import structlog

from app.codec import Codec
from app.engine import Engine, TileModel
from app.errors import BadParameter, Draining, WarmingUp
from app.metrics import Metrics
from app.results import JobBoard, ResultStore
from app.service.answer_budget import AnswerBudget
from app.service.client_quota import ClientQuota, FetchQuota
from app.service.codec_threads import CodecThreads
from app.service.job_directory import JobDirectory
from app.service.jobs import Jobs
from app.service.pipeline import Pipeline
from app.service.upload_budget import UploadBudget
from app.settings import Settings

Phase = Literal["warming", "ready", "leaving", "draining", "failed"]
"""While leaving, everything is served, but readiness says no, so that load balancers look elsewhere."""
ModelFactory = Callable[[], TileModel]


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Weights that have been checked, and one factory per worker.

    `details` of the first network and `companions`, those of the others, go into GET /model as they are.
    """

    factories: Sequence[ModelFactory]
    details: Mapping[str, object] = field(default_factory=dict)
    companions: Sequence[Mapping[str, object]] = ()


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a TileModel says about itself once it is built."""

    name: str
    device: str
    dtype: str
    margin: int
    scales: tuple[int, ...]
    companions: tuple["ModelFacts", ...] = ()

    @classmethod
    def of(cls, model: TileModel) -> "ModelFacts":
        """Its facts, and those of its companions."""
        companions = tuple(cls.of(each) for each in model.companions)
        return cls(model.name, model.device, model.dtype, model.margin, tuple(model.scales), companions)


@dataclass(frozen=True, slots=True)
class Served:
    """One engine with what it serves."""

    engine: Engine
    facts: ModelFacts
    source: ModelSource

    @property
    def networks(self) -> list[tuple[ModelFacts, Mapping[str, object]]]:
        """Every network, the first one first, with the details of its weights, as far as there are any."""
        details = (self.source.details, *self.source.companions)
        everybody = (self.facts, *self.facts.companions)
        return [(each, details[index] if index < len(details) else {}) for index, each in enumerate(everybody)]


class Helper(Protocol):
    """Something that runs beside the service, such as processes to decode in."""

    def start(self) -> None:
        """Begins."""
        ...

    def close(self) -> None:
        """Ends."""
        ...


class Service:
    """Everything that outlives a request. Routes read its parts; main builds it."""

    def __init__(
        self,
        settings: Settings,
        codec: Codec,
        store: ResultStore,
        metrics: Metrics,
        threads: CodecThreads,
        open_model: Callable[[], ModelSource],
        build_engine: Callable[[ModelSource], Engine],
        helpers: Sequence[Helper] = (),
        board: JobBoard | None = None,
    ) -> None:
        """`open_model` checks the weights and raises StartupError; it is called here, and again at every reload.

        `helpers` are started and closed with the service. `board` shows jobs to other processes.
        """
        self.settings = settings
        self.store = store
        self.metrics = metrics
        self.phase: Phase = "warming"
        self.quota = ClientQuota()
        self.fetches = FetchQuota(settings.client_max_fetches)
        self.answers = AnswerBudget(settings.max_answer_bytes_in_flight)
        self.budget = UploadBudget(settings.max_body_bytes_in_flight)
        self.jobs = Jobs(
            Pipeline(codec, self, store, metrics, threads), metrics, settings.job_ttl_seconds, settings.max_jobs
        )
        self.directory = JobDirectory(self.jobs, board)
        self._threads = threads
        self._open_model = open_model
        self._build_engine = build_engine
        self._helpers = helpers
        self._source = open_model()
        self._served: Served | None = None
        self._warming: asyncio.Task[None] | None = None
        self._reloading = asyncio.Lock()
        metrics.watch_store(lambda: store.size_bytes)

    @property
    def served(self) -> Served:
        """What takes new work. Raises WarmingUp or Draining."""
        if self.phase == "draining":
            raise Draining("The service is shutting down. Send it again, to another instance or a little later.")
        if self._served is None:
            raise WarmingUp("The network is being loaded. Try again in a few seconds.")
        return self._served

    @property
    def engine(self) -> Engine:
        """The engine of this moment, also while draining: what was admitted is finished on it. Raises WarmingUp."""
        return self._served.engine if self._served is not None else self.served.engine

    def require_ready(self) -> None:
        """Raises WarmingUp or Draining unless new work is taken."""
        _ = self.served

    def check_level(self, level: int, parameter: str) -> None:
        """Raises BadParameter when no model that is served has such a level."""
        if self._served is not None and level not in self._served.engine.scales:
            allowed = ", ".join(map(str, self._served.engine.scales))
            raise BadParameter(f"{parameter}: {level} is not served; allowed are {allowed}.")

    def choose(self, scale: int, model: str | None) -> str:
        """The model for a picture: the one of that name, else the first with this scale. Raises BadParameter."""
        self.check_level(scale, "scale")
        return self.served.engine.choose(scale, model)

    @property
    def alive(self) -> bool:
        """False once the scheduler or every worker is dead; warming up counts as alive."""
        if self.phase == "failed":
            return False
        return self._served is None or self._served.engine.status().alive

    def measure(self) -> None:
        """Brings the gauges of the engine's queue up to this moment."""
        if self._served is not None:
            status = self._served.engine.status()
            self.metrics.queue(status.queue_tiles, status.queue_age_seconds)

    def start(self) -> None:
        """Begins to load and warm the network, in the background."""
        for helper in self._helpers:
            helper.start()
        self._warming = asyncio.create_task(self._warm())

    async def warmed(self) -> None:
        """Waits until the network is warm, or could not be loaded; `phase` tells which."""
        if self._warming is not None:
            await asyncio.shield(self._warming)

    async def drain(self) -> None:
        """Refuses new work, and waits until what was admitted is done, the oldest first, at most the grace time."""
        self.phase = "draining"
        if self._served is not None:
            self._served.engine.oldest_first()
        await self.jobs.drain(self.settings.grace_seconds)
        await self.directory.close()

    async def stop(self) -> None:
        """Drains, and lets go of everything."""
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.gather(self._warming, return_exceptions=True)
        await self.drain()
        if self._served is not None:
            await self._served.engine.stop(self.settings.grace_seconds)
        await self._threads.close()
        for helper in self._helpers:
            await asyncio.to_thread(helper.close)
        await self.store.close()

    async def reload(self) -> Served:
        """Opens the weights again, warms a second engine with them, and only then lets the first one finish and go.

        Raises StartupError when the weights do not pass their checks; the old ones go on serving.
        """
        async with self._reloading:
            before = self.served
            after = await self._serve(await asyncio.to_thread(self._open_model))
            self._served = after
            await before.engine.stop(self.settings.grace_seconds)
            for worker in after.engine.status().workers:
                self.metrics.worker(worker.name, worker.device, worker.up)
            return after

    async def _warm(self) -> None:
        log = structlog.get_logger("lapsrn")
        try:
            self._served = await self._serve(self._source)
        except Exception as error:
            self.phase = "failed"
            log.error("the network could not be loaded", exc_info=error)
            return
        if self.phase == "warming":
            self.phase = "ready"
        log.info("ready", model=self._served.facts.name, device=self._served.facts.device)

    async def _serve(self, source: ModelSource) -> Served:
        """An engine that is up and warm."""
        facts: list[ModelFacts] = []
        engine = self._build_engine(replace(source, factories=[_noting(build, facts) for build in source.factories]))
        await engine.start()
        served = Served(engine, facts[0], source)
        self.metrics.models(
            {"name": each.name, "sha256": str(details.get("sha256", "")), "device": each.device, "dtype": each.dtype}
            for each, details in served.networks
        )
        return served


def _noting(build: ModelFactory, facts: list[ModelFacts]) -> ModelFactory:
    """The same factory, which also writes down what it built."""

    def noted() -> TileModel:
        model = build()
        facts.append(ModelFacts.of(model))
        return model

    return noted
