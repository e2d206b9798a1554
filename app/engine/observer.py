"""The engine's own observers: one ignores everything, and one shields the engine from failures of another."""

import logging
from collections.abc import Callable

from app.engine.ports import EngineObserver

_log = logging.getLogger(__name__)


class SilentObserver:
    """An EngineObserver that ignores everything."""

    def batch(self, tiles: int, seconds: float, worker: str) -> None:
        """Ignores it."""

    def queue(self, tiles: int, age: float) -> None:
        """Ignores it."""

    def worker(self, worker: str, device: str, up: bool) -> None:
        """Ignores it."""

    def worker_restarted(self, worker: str) -> None:
        """Ignores it."""

    def stage(self, name: str, seconds: float) -> None:
        """Ignores it."""


class GuardedObserver:
    """Forwards everything, and logs the other observer's exceptions instead of letting a worker fail."""

    def __init__(self, observer: EngineObserver) -> None:
        self._observer = observer

    def batch(self, tiles: int, seconds: float, worker: str) -> None:
        """Passes it on."""
        self._guard(lambda: self._observer.batch(tiles, seconds, worker))

    def queue(self, tiles: int, age: float) -> None:
        """Passes it on."""
        self._guard(lambda: self._observer.queue(tiles, age))

    def worker(self, worker: str, device: str, up: bool) -> None:
        """Passes it on."""
        self._guard(lambda: self._observer.worker(worker, device, up))

    def worker_restarted(self, worker: str) -> None:
        """Passes it on."""
        self._guard(lambda: self._observer.worker_restarted(worker))

    def stage(self, name: str, seconds: float) -> None:
        """Passes it on."""
        self._guard(lambda: self._observer.stage(name, seconds))

    def _guard(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:
            _log.exception("the engine's observer failed; the engine goes on")
