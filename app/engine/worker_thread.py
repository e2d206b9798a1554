"""A worker's thread, which builds its models and runs batches until it is stopped or fails."""

import logging
import threading
import time
from collections.abc import Callable, Mapping

from app.engine.batch import BatchLimit, BatchRunner
from app.engine.config import EngineConfig
from app.engine.ports import EngineObserver, ModelFactory, TileModel
from app.engine.scheduler import Scheduler
from app.engine.tiles import Shape

_log = logging.getLogger(__name__)


class WorkerThread:
    """A worker's thread and its models. `changed` is called, in that thread, when it is up and when it is over.

    `accept` is called with the models before they are used, and may raise to reject them.
    """

    def __init__(
        self,
        name: str,
        factory: ModelFactory,
        scheduler: Scheduler,
        config: EngineConfig,
        observer: EngineObserver,
        accept: Callable[[Mapping[str, TileModel]], None],
        changed: Callable[["WorkerThread"], None],
    ) -> None:
        self.name = name
        self.models: Mapping[str, TileModel] = {}
        self.up = False
        self.over = False
        """It no longer accepts work; the thread itself may not have ended yet."""
        self.error: BaseException | None = None
        self._factory = factory
        self._scheduler = scheduler
        self._config = config
        self._observer = observer
        self._accept = accept
        self._changed = changed
        self._runner: BatchRunner | None = None
        self._thread = threading.Thread(target=self._live, name=f"engine-{name}", daemon=True)

    def __str__(self) -> str:
        return self.name

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def join(self, timeout: float) -> bool:
        """Waits for the thread to end; False if it did not within `timeout` seconds."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def ended(self) -> bool:
        """Whether the thread has ended, or was never started."""
        return not self._thread.is_alive()

    def stuck_for(self) -> float:
        """How many seconds the current call of the network has taken so far; 0.0 if there is none."""
        began = self._runner.busy_since if self._runner else None
        return time.monotonic() - began if began is not None else 0.0

    def abandon(self) -> None:
        """Gives up a hung thread: its results are discarded, and its tiles go back to the queue."""
        if self._runner:
            self._runner.release()
        self._scheduler.release(self, TimeoutError(f"worker {self.name} hung"))

    def _live(self) -> None:
        try:
            models = self._factory()
            self._accept(models)
            for model in self._warmed_up(models):
                model.warm_up(self._warm_shapes(model.info.scales[-1]))
            self.models = models
            self._runner = runner = BatchRunner(models, self._scheduler, self._config, self._observer, self)
            self._scheduler.enlist(self)
            self.up = True
            self._changed(self)
            while self._serve(runner):
                pass
        except BaseException as error:  # for whatever reason, the thread ends here and the supervisor replaces it
            self.error = error
            _log.exception("worker %s went down", self.name)
        finally:
            self.up = False
            self.over = True
            self._scheduler.release(self, self.error)
            changed = self._changed
            self._drop_references()
            changed(self)

    def _drop_references(self) -> None:
        """Drops everything that would keep the dead worker's network in memory, including the error's frames.

        The pool's callbacks are dropped, too: with the pool's reference to this object they form a cycle, which only
        the garbage collector would free.
        """
        self._runner = None
        self.models = {}
        self._accept = self._changed = _ignore
        error = self.error
        while error is not None:
            error.__traceback__ = None
            error = error.__cause__ or error.__context__

    def _serve(self, runner: BatchRunner) -> bool:
        """Runs one batch; False when there are no more. A separate frame, so that an idle worker holds no tiles."""
        batch = self._scheduler.take(self, runner.limit)
        if batch is not None:
            runner.run(batch)
        return batch is not None

    def _warmed_up(self, models: Mapping[str, TileModel]) -> list[TileModel]:
        """The networks to run before the worker is up."""
        count = {"nothing": 0, "smallest": 1}.get(self._config.warm_up, len(models))
        return list(models.values())[:count]

    def _warm_shapes(self, scale: int) -> list[tuple[int, int, int]]:
        """The (N, height, width) of the cores to run before the worker is up, at this scale."""
        (heights, widths), limit = self._config.tile_sizes(scale), BatchLimit(self._config)
        if self._config.warm_up == "shapes":
            cores = [Shape(height, width, 1) for height in heights for width in widths]
        elif self._config.warm_up == "smallest":
            cores = [Shape(heights[0], widths[0], 1)]
        else:
            cores = [Shape(next((each for each in heights if each >= size), heights[-1]), size, 1) for size in widths]
        shapes = []
        for core in cores:
            counts = [1 << power for power in range(limit(core).bit_length())]  # what the scheduler hands out
            if self._config.fill_batches:
                counts = [limit(core)]
            chosen = counts if self._config.warm_up == "shapes" else counts[:1]
            shapes += [(count, core.height, core.width) for count in chosen]
        return shapes


def _ignore(_: object) -> None:
    """Replaces a callback that was dropped."""
