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
    """A snapshot. Tiles are counted from admission until they are written, withdrawn or failed."""

    alive: bool
    """The keeper of the workers runs, and at least one worker is up."""
    ready: bool
    """Alive and not draining."""
    draining: bool
    workers: tuple[WorkerStatus, ...]
    requests: int
    """Requests under way."""
    queue_tiles: int
    """Tiles that wait for a worker."""
    queue_age_seconds: float
    """How long the oldest request that still waits has waited."""
    in_flight: int
    """Tiles that workers hold."""
    bytes_under_way: int
    tiles_per_second: float
    """What the workers together attain while they are busy; 0.0 before the first batch."""
