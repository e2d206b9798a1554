"""The engine's asyncio interface: upscale planes, start, stop, report the status."""

import asyncio
import functools
import logging
from collections.abc import Callable, Sequence
from types import TracebackType

import numpy as np

from app.engine.config import EngineConfig
from app.engine.loop_bridge import LoopBridge
from app.engine.networks import Networks, choose, levels_of, scales_of
from app.engine.observer import GuardedObserver, SilentObserver
from app.engine.planes import Outputs
from app.engine.pool import Pool
from app.engine.ports import EngineObserver, ModelFactory, NetworkInfo, Plane
from app.engine.request import Request
from app.engine.scheduler import Scheduler
from app.engine.status import EngineStatus
from app.engine.tiles import fewest_tiles
from app.errors import BadParameter, Draining, StartupError

_log = logging.getLogger(__name__)
_JOIN_SECONDS = 5.0
_MANY_TILES = 2048
"""More than these are cut in a thread of their own."""


class Engine:
    """Upscales planes on a pool of workers, one for each factory in `models`.

    Bound to the event loop that starts it. Command-line tools use it within `asyncio.run`:

        async with Engine([factory], EngineConfig()) as engine:
            levels = await engine.upscale([plane], scale=4, client="me")
    """

    def __init__(
        self,
        models: Sequence[ModelFactory],
        config: EngineConfig | None = None,
        observer: EngineObserver | None = None,
    ) -> None:
        if not models:
            raise ValueError("an engine needs at least one model factory")
        self._factories = list(models)
        self._config = config or EngineConfig()
        self._observer = GuardedObserver(observer or SilentObserver())
        self.scheduler = Scheduler(self._config)
        """Public for its counts of admitted work."""
        self._pool: Pool | None = None
        self._waiting: set[asyncio.Future[None]] = set()

    async def __aenter__(self) -> "Engine":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop(0.0 if error else 60.0)

    @property
    def scales(self) -> tuple[int, ...]:
        """The available scales, ascending; () before the start."""
        return scales_of(self.networks.values())

    @property
    def networks(self) -> Networks:
        """Every network by name, in order of preference; {} before the start."""
        return self._pool.networks if self._pool else {}

    @property
    def first(self) -> NetworkInfo:
        """The first network: the default for its scales. Raises StartupError before the start."""
        return next(iter(self._ready_networks().values()))

    def choose(self, scale: int, network: str | None = None) -> str:
        """The name of the network that `upscale` would use. Raises BadParameter, and StartupError before the start."""
        return choose(self._ready_networks(), scale, network).name

    def levels(self, network: str, scale: int) -> tuple[int, ...]:
        """The levels of a pass of this network up to `scale`, ascending. Raises StartupError before the start."""
        return levels_of(self._ready_networks()[network], scale)

    def _ready_networks(self) -> Networks:
        if not self.networks:
            raise StartupError("the engine has no model yet; wait until it is ready")
        return self.networks

    async def start(self) -> None:
        """Builds and warms up every model; raises StartupError when none of them comes up."""
        if self._pool:
            raise StartupError("this engine was started before; create a new one")
        built = LoopBridge()
        self._pool = pool = Pool(
            self._factories, self.scheduler, self._config, self._observer, lambda: built.settled(None)
        )
        pool.start()
        try:
            await built.finished
        except asyncio.CancelledError:
            await self.stop(0.0)
            raise
        if not pool.alive:
            errors = pool.errors()
            await self.stop(0.0)
            reason = "; ".join(sorted({str(error) or repr(error) for error in errors}))
            raise StartupError(f"no worker could load its model: {reason}") from (errors[0] if errors else None)

    def oldest_first(self) -> None:
        """From now on, finishes requests in order of admission instead of in turns; new ones are still admitted."""
        self.scheduler.oldest_first()

    async def stop(self, grace_seconds: float) -> None:
        """Refuses new work, finishes what was admitted, then stops the workers.

        What is not finished after `grace_seconds` fails with Draining.
        """
        self.scheduler.drain()
        if self._waiting:
            await asyncio.wait(self._waiting, timeout=max(0.0, grace_seconds))
        for finished in list(self._waiting):
            if not finished.done():
                finished.set_exception(Draining("the service shut down before this picture was done; send it again"))
        if self._pool:
            self._pool.let_end()  # before it closes: on a busy machine, workers would end, and be replaced, in between
        self.scheduler.close()
        if self._pool and not await asyncio.to_thread(self._pool.stop, _JOIN_SECONDS):
            _log.error("a worker did not stop within %.0f s; its thread is abandoned", _JOIN_SECONDS)

    async def upscale(
        self,
        planes: Sequence[Plane],
        *,
        scale: int,
        client: str,
        network: str | None = None,
        clean: Sequence[float] = (),
        compressed: bool = True,
        passes: int = 1,
        on_progress: Callable[[int, int], None] | None = None,
        on_rows: Callable[[int, Outputs], None] | None = None,
        on_stage: Callable[[str, float], None] | None = None,
    ) -> Outputs:
        """Upscales float32 planes (height, width), which must not change meanwhile, to one {level: plane} for each.

        The levels are those of the network up to `scale`; `network` defaults to the first one with this scale. `client`
        is the unit of fair scheduling. `clean` has the clean-up strength of each plane, a multiple of 1/8, or is empty
        for no clean-up; `compressed` is whether the picture has compression losses. With 8 `passes` the result is the
        mean over the symmetries of the square, with 2 that over the picture and a quarter turn of it; tiles and work
        multiply accordingly.

        The callbacks run on the event loop: `on_progress` gets (tiles done, all tiles); `on_rows` gets (rows, outputs)
        when source rows [0, rows) of every plane are done, and may `release` them; `on_stage` gets ("queue", seconds)
        and ("infer", seconds). Cancelling the task takes its tiles out of the queue.

        Raises BadParameter (an unknown scale or network), QueueFull, TooManyRequests, Draining and InferenceFailed.
        """
        chosen = choose(self._ready_networks(), scale, network)
        _check_planes(planes)
        if any(clean) and not chosen.strengths:
            raise BadParameter(f"{chosen.name} has no clean-up")
        if not planes:
            return Outputs()

        def report(done: int, total: int, rows: int) -> None:
            if on_progress:
                on_progress(done, total)
            if on_rows:
                on_rows(rows, request.outputs)

        bridge = LoopBridge(report if on_progress or on_rows else None, self._config.progress_seconds)
        cutting = self._config.cutting(chosen, scale, len(self._factories), idle=not self.scheduler.requests)
        cut = functools.partial(
            Request.cut,
            planes,
            chosen,
            cutting,
            client=client,
            scale=scale,
            listener=bridge,
            clean=clean,
            compressed=compressed,
            passes=passes,
        )
        tiles = passes * sum(fewest_tiles(plane.shape[0], plane.shape[1], cutting.sizes) for plane in planes)
        self.scheduler.check(client, tiles, sum(plane.nbytes for plane in planes))
        # A picture in one row has so many tiles that cutting it takes seconds.
        request = await asyncio.to_thread(cut) if tiles > _MANY_TILES else cut()
        self.scheduler.admit(request)
        self._waiting.add(bridge.finished)
        try:
            if on_progress:
                on_progress(0, request.total)
            await bridge.finished
        finally:
            bridge.close()
            self._waiting.discard(bridge.finished)
            self.scheduler.withdraw(request)
            self._observer.queue(*self.scheduler.waiting())
        self._report_stages(request, on_stage)
        return request.outputs

    def status(self) -> EngineStatus:
        """A snapshot; cheap enough for every health check."""
        tiles, age = self.scheduler.waiting()
        return EngineStatus(
            alive=self._pool is not None and self._pool.alive,
            workers=self._pool.status() if self._pool else (),
            queue_tiles=tiles,
            queue_age_seconds=age,
        )

    def _report_stages(self, request: Request, on_stage: Callable[[str, float], None] | None) -> None:
        started, finished = request.started_at, request.finished_at
        if started is None or finished is None:
            return
        for name, seconds in (("queue", started - request.admitted_at), ("infer", finished - started)):
            self._observer.stage(name, seconds)
            if on_stage:
                on_stage(name, seconds)


def _check_planes(planes: Sequence[Plane]) -> None:
    """Raises ValueError for planes of a wrong type or shape."""
    for plane in planes:
        if plane.dtype != np.float32 or plane.ndim != 2 or not plane.size:
            raise ValueError(f"a plane is float32 (height, width) of at least 1x1, not {plane.dtype} {plane.shape}")
