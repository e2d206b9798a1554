"""What the engine says about itself."""

from dataclasses import dataclass
from typing import Literal

WorkerState = Literal["starting", "up", "hung", "down"]


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker; `device` and `dtype` are "" until its model was built for the first time."""

    name: str
    device: str
    dtype: str
    state: WorkerState
    restarts: int

    @property
    def up(self) -> bool:
        """Whether it takes work."""
        return self.state == "up"


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """A snapshot, of the workers and of the queue."""

    alive: bool
    """The keeper of the workers runs, and at least one worker is up."""
    workers: tuple[WorkerStatus, ...]
    queue_tiles: int
    """Tiles that wait for a worker."""
    queue_age_seconds: float
    """How long the oldest request that still waits has waited; 0.0 if none waits."""
