"""The workers, one for each model, and the supervisor that replaces those that die or hang."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from app.engine.config import EngineConfig
from app.engine.networks import Networks, require_same
from app.engine.ports import EngineObserver, ModelFactory, TileModel
from app.engine.scheduler import Scheduler
from app.engine.status import WorkerState, WorkerStatus
from app.engine.worker_thread import WorkerThread

_log = logging.getLogger(__name__)
_TICK_SECONDS = 0.5


@dataclass(slots=True)
class _Slot:
    """A worker's place in the pool, which successive threads occupy."""

    name: str
    factory: ModelFactory
    thread: WorkerThread | None = None
    state: WorkerState = "starting"
    device: str = ""
    dtype: str = ""
    restarts: int = 0
    deaths: int = 0
    """Consecutive ones; a thread that stays up longer than the longest restart delay resets the count."""
    up_since: float = 0.0
    replace_at: float | None = None


class Pool:
    """Starts the workers and restarts them when needed; thread-safe.

    `built` is called once, from a worker's thread, when every worker has come up or died for the first time.
    """

    def __init__(
        self,
        factories: Sequence[ModelFactory],
        scheduler: Scheduler,
        config: EngineConfig,
        observer: EngineObserver,
        built: Callable[[], None],
    ) -> None:
        self._scheduler = scheduler
        self._config = config
        self._observer = observer
        self._built: Callable[[], None] | None = built
        self._lock = threading.Lock()
        self._slots = [_Slot(f"worker-{index}", factory) for index, factory in enumerate(factories)]
        self._networks: Networks = {}
        self._wake = threading.Event()
        self._stopping = False
        self._supervisor = threading.Thread(target=self._supervise, name="engine-supervisor", daemon=True)

    @property
    def networks(self) -> Networks:
        """The networks of the worker that was built first; all others must have the same. {} before that."""
        return self._networks

    @property
    def alive(self) -> bool:
        """Whether the supervisor runs and at least one worker is up."""
        return self._supervisor.is_alive() and any(worker.up for worker in self.status())

    def start(self) -> None:
        """Starts the workers and the supervisor."""
        for slot in self._slots:
            self._begin(slot)
        self._supervisor.start()

    def let_end(self) -> None:
        """From now on, workers that end are not replaced."""
        self._stopping = True
        self._wake.set()

    def stop(self, timeout: float) -> bool:
        """Waits for all threads to end, and returns whether they did in time. The scheduler must be closed before."""
        self.let_end()
        deadline = time.monotonic() + timeout
        if self._supervisor.ident is not None:
            self._supervisor.join(timeout)
        threads = [slot.thread for slot in self._slots if slot.thread]
        ended = [thread.join(max(0.0, deadline - time.monotonic())) for thread in threads]
        return all(ended)

    def errors(self) -> list[BaseException]:
        """The errors that ended the dead workers."""
        return [slot.thread.error for slot in self._slots if slot.thread and slot.thread.error]

    def status(self) -> tuple[WorkerStatus, ...]:
        """The current state of every worker, even if the supervisor has not noticed it yet."""
        return tuple(
            WorkerStatus(slot.name, slot.device, slot.dtype, self._state(slot), slot.restarts) for slot in self._slots
        )

    def _state(self, slot: _Slot) -> WorkerState:
        thread = slot.thread
        if slot.state == "up" and thread:
            if thread.over:
                return "down"
            if thread.stuck_for() > self._config.hang_seconds:
                return "hung"
        return slot.state

    def _begin(self, slot: _Slot) -> None:
        slot.replace_at = None
        slot.thread = WorkerThread(
            slot.name,
            slot.factory,
            self._scheduler,
            self._config,
            self._observer,
            self._accept,
            lambda thread: self._changed(slot, thread),
        )
        slot.thread.start()

    def _accept(self, models: Mapping[str, TileModel]) -> None:
        """Raises StartupError for models that differ from those of the other workers. Keeps no reference to them."""
        new = {name: model.info for name, model in models.items()}
        with self._lock:
            known = self._networks = self._networks or new
        require_same(new, known)

    def _changed(self, slot: _Slot, thread: WorkerThread) -> None:
        """Records that a thread is up or over; called from that thread."""
        with self._lock:
            if slot.thread is not thread:
                return
            if thread.up:
                first = next(iter(thread.models.values())).info
                slot.state, slot.up_since, slot.device, slot.dtype = "up", time.monotonic(), first.device, first.dtype
            elif thread.over and not self._stopping and slot.replace_at is None:
                self._schedule(slot, "down")
            up, stopping = thread.up, self._stopping
            built = self._built if all(slot.state != "starting" for slot in self._slots) else None
            if built:
                self._built = None
            known = slot.device or any(each.state == "up" for each in self._slots)  # otherwise the start may fail
        if not stopping and known:
            self._observer.worker(slot.name, slot.device, up)
        if built:
            built()
        self._wake.set()

    def _schedule(self, slot: _Slot, state: WorkerState) -> None:
        now = time.monotonic()
        if slot.state == "up" and now - slot.up_since > self._config.restart_max_seconds:
            slot.deaths = 0
        wait = min(self._config.restart_max_seconds, self._config.restart_seconds * 2 ** min(slot.deaths, 30))
        slot.state, slot.deaths, slot.replace_at = state, slot.deaths + 1, now + wait

    def _supervise(self) -> None:
        while not self._stopping:
            self._wake.wait(self._seconds_to_next_check())
            self._wake.clear()
            try:
                for slot in self._slots:
                    if not self._stopping:
                        self._check(slot)
                self._observer.queue(*self._scheduler.waiting())
            except Exception:
                _log.exception("the workers' supervisor continues after an error")

    def _seconds_to_next_check(self) -> float:
        times = [slot.replace_at for slot in self._slots if slot.replace_at is not None]
        tick = min(_TICK_SECONDS, self._config.hang_seconds / 4)
        return max(0.0, min([tick, *(at - time.monotonic() for at in times)]))

    def _check(self, slot: _Slot) -> None:
        """Restarts a worker that is due, and abandons one that hangs."""
        thread = slot.thread
        hung = False
        with self._lock:
            if slot.state == "up" and thread and thread.stuck_for() > self._config.hang_seconds:
                _log.error("%s has hung for %.1f s and will be replaced", slot.name, thread.stuck_for())
                self._schedule(slot, "hung")
                hung = True
            elif thread and thread.ended and slot.replace_at is None:  # it ended, or failed to start, unreported
                self._schedule(slot, "down")
            due = slot.replace_at is not None and time.monotonic() >= slot.replace_at and not hung
        if hung and thread:
            thread.abandon()
            self._observer.worker(slot.name, slot.device, False)
        if due:
            slot.restarts += 1
            _log.warning("%s is restarted (restart %d)", slot.name, slot.restarts)
            self._observer.worker_restarted(slot.name)
            self._begin(slot)
