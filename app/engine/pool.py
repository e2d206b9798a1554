"""The workers, one for each model, and the keeper that replaces those that die or hang."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.engine.config import EngineConfig
from app.engine.ports import EngineObserver, TileModel
from app.engine.scheduler import Scheduler
from app.engine.status import WorkerState, WorkerStatus
from app.engine.worker_thread import WorkerThread
from app.errors import BadParameter, StartupError

_log = logging.getLogger(__name__)
_TICK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Network:
    """What the engine must know of a network to cut pictures for it."""

    margin: int
    scales: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Fit:
    """What all workers' models must share, by name, the default first, and whose it is.

    Not the models, which go with their worker.
    """

    networks: dict[str, Network]
    owner: str

    @property
    def scales(self) -> tuple[int, ...]:
        """The scales that any network has, ascending."""
        return tuple(sorted({scale for network in self.networks.values() for scale in network.scales}))

    def choose(self, scale: int, name: str | None) -> str:
        """The network called `name`, else the first that has this scale. Raises BadParameter."""
        if name is not None and name not in self.networks:
            raise BadParameter(f"there is no model {name!r} here; there are {', '.join(self.networks)}")
        among = self.networks if name is None else {name: self.networks[name]}
        for each, network in among.items():
            if scale in network.scales:
                return each
        allowed = sorted({scale for network in among.values() for scale in network.scales})
        whose = "" if name is None else f" of {name}"
        raise BadParameter(f"scale {scale}{whose} is not available; allowed: {', '.join(map(str, allowed))}")


@dataclass(slots=True)
class _Slot:
    """A worker's place; threads come and go."""

    name: str
    factory: Callable[[], TileModel]
    thread: WorkerThread | None = None
    state: WorkerState = "starting"
    device: str = ""
    dtype: str = ""
    restarts: int = 0
    deaths: int = 0
    """In a row; a thread that stayed up longer than the longest wait ends the row."""
    up_since: float = 0.0
    replace_at: float | None = None


class Pool:
    """Starts the workers and keeps them up; thread-safe.

    `built` is called once, from a worker's thread, when every worker has come up or died for the first time.
    """

    def __init__(
        self,
        factories: Sequence[Callable[[], TileModel]],
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
        self._fit: Fit | None = None
        self._wake = threading.Event()
        self._stopping = False
        self._keeper = threading.Thread(target=self._keep, name="engine-keeper", daemon=True)

    @property
    def fit(self) -> Fit | None:
        """That of the first model that was built."""
        return self._fit

    @property
    def alive(self) -> bool:
        """Whether the keeper runs and at least one worker is up."""
        return self._keeper.is_alive() and any(worker.up for worker in self.status())

    def start(self) -> None:
        """Start the workers and the keeper."""
        for slot in self._slots:
            self._begin(slot)
        self._keeper.start()

    def stop(self, timeout: float) -> bool:
        """Send everyone home; say whether all threads ended in time. The scheduler has to be closed before."""
        self._stopping = True
        self._wake.set()
        deadline = time.monotonic() + timeout
        if self._keeper.ident is not None:
            self._keeper.join(timeout)
        threads = [slot.thread for slot in self._slots if slot.thread]
        ended = [thread.join(max(0.0, deadline - time.monotonic())) for thread in threads]
        return all(ended)

    def errors(self) -> list[BaseException]:
        """Return what the dead workers died of."""
        return [slot.thread.error for slot in self._slots if slot.thread and slot.thread.error]

    def status(self) -> tuple[WorkerStatus, ...]:
        """Return the truth about every worker, even when the keeper has not seen it yet."""
        return tuple(
            WorkerStatus(slot.name, slot.device, slot.dtype, self._state(slot), slot.restarts) for slot in self._slots
        )

    def _state(self, slot: _Slot) -> WorkerState:
        thread = slot.thread
        if slot.state == "up" and thread:
            if thread.dead:
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

    def _accept(self, model: TileModel) -> None:
        """Raise StartupError for a model whose tiles would not fit the others'."""
        networks = {each.name: Network(each.margin, tuple(each.scales)) for each in (model, *model.companions)}
        mine = Fit(networks, f"{model.name} on {model.device}")
        with self._lock:
            first = self._fit = self._fit or mine
        for name in mine.networks.keys() | first.networks.keys():
            its, ours = mine.networks.get(name), first.networks.get(name)
            if its != ours:
                raise StartupError(
                    f"{mine.owner}: {name} has {_described(its)}, but of {first.owner} it has {_described(ours)}; "
                    "give all workers one model"
                )

    def _changed(self, slot: _Slot, thread: WorkerThread) -> None:
        """Take note that a thread is up or over; called from its thread."""
        with self._lock:
            if slot.thread is not thread:
                return
            model = thread.model
            if thread.up and model:
                slot.state, slot.up_since, slot.device, slot.dtype = "up", time.monotonic(), model.device, model.dtype
            elif thread.over and not self._stopping and slot.replace_at is None:
                self._schedule(slot, "down")
            up, stopping = thread.up, self._stopping
            built = self._built if all(slot.state != "starting" for slot in self._slots) else None
            if built:
                self._built = None
        if not stopping and slot.device:
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

    def _keep(self) -> None:
        while not self._stopping:
            self._wake.wait(self._next_look())
            self._wake.clear()
            try:
                for slot in self._slots:
                    if not self._stopping:
                        self._look_after(slot)
                self._observer.queue(*self._scheduler.waiting())
            except Exception:
                _log.exception("the keeper of the workers goes on after an error")

    def _next_look(self) -> float:
        times = [slot.replace_at for slot in self._slots if slot.replace_at is not None]
        tick = min(_TICK_SECONDS, self._config.hang_seconds / 4)
        return max(0.0, min([tick, *(at - time.monotonic() for at in times)]))

    def _look_after(self, slot: _Slot) -> None:
        """Replace a worker whose time has come; give up on one that hangs."""
        thread = slot.thread
        hung = False
        with self._lock:
            if slot.state == "up" and thread and thread.stuck_for() > self._config.hang_seconds:
                _log.error("%s hangs since %.1f s and is replaced", slot.name, thread.stuck_for())
                self._schedule(slot, "hung")
                hung = True
            elif thread and thread.ended and slot.replace_at is None:  # it could not even be started, or say good-bye
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


def _described(network: Network | None) -> str:
    return "no place" if network is None else f"margin {network.margin} and scales {network.scales}"
