"""Snapshots of the engine's state."""

from dataclasses import dataclass
from typing import Literal

WorkerState = Literal["starting", "up", "hung", "down"]


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker; `device` and `dtype` are "" until its model is built for the first time."""

    name: str
    device: str
    dtype: str
    state: WorkerState
    restarts: int

    @property
    def up(self) -> bool:
        """Whether it accepts work."""
        return self.state == "up"


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """A snapshot of the workers and the queue."""

    alive: bool
    """The supervisor thread runs, and at least one worker is up."""
    workers: tuple[WorkerStatus, ...]
    queue_tiles: int
    """Tiles waiting for a worker."""
    queue_age_seconds: float
    """How long the oldest request that no worker has begun has waited; 0.0 if there is none."""
