"""How long each stage of a request took: for Server-Timing, the metrics, and the stage at which a request ended."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Record = Callable[[str, float], None]


class Stages:
    """Seconds per stage, in the order in which they were first entered."""

    def __init__(self, record: Record) -> None:
        """`record` is called with (stage, seconds) when a stage completes without an error."""
        self._record = record
        self._began = time.perf_counter()
        self.current = "read"
        self.seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Times the block as `stage`. If the block raises, nothing is recorded."""
        self.current = stage
        began = time.perf_counter()
        yield
        self.add(stage, time.perf_counter() - began)

    def add(self, stage: str, seconds: float) -> None:
        """Adds and records time that was measured elsewhere."""
        self.note(stage, seconds)
        self._record(stage, seconds)

    def note(self, stage: str, seconds: float) -> None:
        """Adds time that was both measured and recorded elsewhere, as the engine's is."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def milliseconds(self) -> dict[str, float]:
        """Stage -> milliseconds, for the log."""
        return {stage: round(seconds * 1000.0, 1) for stage, seconds in self.seconds.items()}

    def server_timing(self) -> str:
        """The value of a Server-Timing header, in milliseconds, ending with the total."""
        total = time.perf_counter() - self._began
        entries = {**self.seconds, "total": total}
        return ", ".join(f"{stage};dur={seconds * 1000.0:.1f}" for stage, seconds in entries.items())
