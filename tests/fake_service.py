"""`python -m tests.fake_service [SECONDS]`: serves a network that repeats pixels and takes SECONDS for each tile."""

import functools
import sys
import time

import numpy as np
from numpy.typing import NDArray

from app.engine import TileModel
from app.main import serve
from app.process.early_signals import leave, listen
from tests.fakes import FakeModel


class SlowModel(FakeModel):
    """Sleeps before it answers, so that work is under way for a known time."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def run(
        self,
        tiles: NDArray[np.float32],
        scale: int,
        *,
        full_precision: bool = False,
        clean: float = 0.0,
        compressed: bool = True,
    ) -> dict[int, NDArray[np.float32]]:
        time.sleep(self._seconds * len(tiles))
        return super().run(tiles, scale, full_precision=full_precision, clean=clean)


def build(seconds: float) -> dict[str, TileModel]:
    """A worker's factory, but for the argument; replicas can pickle it."""
    model = SlowModel(seconds)
    return {model.info.name: model}


if __name__ == "__main__":
    listen()
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 0.0
    leave(serve(models=[functools.partial(build, seconds)]))
