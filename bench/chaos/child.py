"""The service as `lapsrn serve` builds it, with workers that fail on command: `python -m bench.chaos.child`.

Each line on standard input is one of FAULTS, which is injected into the next batch.
"""

import functools
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.engine import ModelFactory, TileModel

Tiles = NDArray[np.float32]

FAULTS = ("die", "hang", "fail", "memory")
"""The worker's thread ends; it stays in the batch for HANG_TIMES the service's limit; RuntimeError; MemoryError."""
HANG_TIMES = 1.5
INJECTED = "injected fault: "
"""Printed on standard output before a fault, with its name after it."""


class Faults:
    """What is to go wrong next; thread-safe."""

    def __init__(self, hang_seconds: float) -> None:
        """A worker that hangs does so for `hang_seconds`."""
        self._hang_seconds = hang_seconds
        self._waiting: deque[str] = deque()

    def listen(self) -> None:
        """Takes orders from standard input until it ends."""
        for line in sys.stdin:
            self._waiting.append(line.strip())

    def trigger(self) -> None:
        """Injects the next waiting fault, if there is one, into the batch that is about to run."""
        try:
            fault = self._waiting.popleft()
        except IndexError:
            return
        print(f"{INJECTED}{fault}", flush=True)
        if fault == "die":
            raise SystemExit("chaos")
        if fault == "fail":
            raise RuntimeError("chaos")
        if fault == "memory":
            raise MemoryError("chaos")
        if fault == "hang":
            time.sleep(self._hang_seconds)


class FaultyModel:
    """A TileModel in front of the real one."""

    def __init__(self, real: TileModel, faults: Faults) -> None:
        """`real` answers where no fault is injected."""
        self._real = real
        self._faults = faults
        self.info = real.info

    def warm_up(self, shapes: Sequence[tuple[int, int, int]]) -> None:
        """As the real one."""
        self._real.warm_up(shapes)

    def run(self, tiles: Tiles, scale: int, **options: Any) -> dict[int, Tiles]:
        """The real model's answer, unless a fault is injected."""
        self._faults.trigger()
        return self._real.run(tiles, scale, **options)


def faulty(build: ModelFactory, faults: Faults) -> dict[str, TileModel]:
    """A worker's real models, built in its thread, with faults before them."""
    return {name: FaultyModel(model, faults) for name, model in build().items()}


def main() -> None:
    """The process; ends as `lapsrn serve` does."""
    from app import logging
    from app.api.server import run_server
    from app.build import open_model
    from app.main import create_app, listen
    from app.process.early_signals import leave
    from app.settings import load_settings

    settings = load_settings()
    logging.configure(settings.log_level, settings.log_format)
    faults = Faults(HANG_TIMES * settings.hang_seconds)
    threading.Thread(target=faults.listen, name="faults", daemon=True).start()
    factories = open_model(settings, None).factories
    app = create_app(settings, [functools.partial(faulty, build, faults) for build in factories])
    leave(run_server(app, listen(settings.host, settings.port)))


if __name__ == "__main__":
    main()
