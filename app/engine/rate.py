"""Measures how much work the workers do per second while they are busy. Not thread-safe."""

import math
from collections.abc import Hashable

_MEMORY_SECONDS = 10.0


class WorkRate:
    """Work per busy time of each worker, where a batch's weight decays to 1/e after 10 busy seconds."""

    def __init__(self) -> None:
        self._workers: dict[Hashable, tuple[float, float]] = {}

    def add(self, worker: Hashable, work: float, seconds: float) -> None:
        """Counts a batch."""
        old_work, old_seconds = self._workers.get(worker, (0.0, 0.0))
        kept = math.exp(-seconds / _MEMORY_SECONDS)
        self._workers[worker] = old_work * kept + work, old_seconds * kept + seconds

    def forget(self, worker: Hashable) -> None:
        """Drops a worker that has ended."""
        self._workers.pop(worker, None)

    def per_second(self) -> float:
        """The sum of the workers' rates; 0.0 before the first batch."""
        return sum((work / max(seconds, 1e-9) for work, seconds in self._workers.values()), 0.0)
