"""`python -m bench.simulated_device FOLDER`: the service before a GPU that is none, shared by all of its replicas.

A batch takes the time that it takes on a fast GPU, in which this process only waits, and one batch runs at a time.
Pixels come from a plane of noise like a photograph's, so that the PNG costs what it costs.
"""

import fcntl
import functools
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.engine import TileModel
from app.main import leave, serve
from bench.pictures import photograph
from model.checkpoint import NetworkInfo
from model.network import LapSRNConfig

PIXELS_A_SECOND = 64e6
"""Of low resolution: `python -m bench --only accelerator` on an H200."""
SECONDS_A_BATCH = 0.001
_SIDE = 256
"""Largest tile."""


class SimulatedDevice:
    """A TileModel that waits, and answers with views of a plane that was made before."""

    def __init__(self, folder: Path) -> None:
        """`folder` has the file that only one process at a time may lock, which stands for the device."""
        self.info = NetworkInfo("simulated_x4", LapSRNConfig(), sha256="", device="cuda:0", dtype="float16")
        self._device = os.open(folder / "device", os.O_CREAT | os.O_RDWR)
        plane = photograph(_SIDE * 4, _SIDE * 4, 0)[..., 0].astype(np.float32) / 255
        self._planes = {2: plane[: _SIDE * 2, : _SIDE * 2], 4: plane}

    def run(
        self,
        tiles: NDArray[np.float32],
        scale: int,
        *,
        full_precision: bool = False,
        clean: float = 0.0,
        compressed: bool = True,
    ) -> dict[int, NDArray[np.float32]]:
        """Tiles of (count, height, width) with margins."""
        count, height, width = (tiles.shape[0], *(side - 2 * self.info.window_margin for side in tiles.shape[1:]))
        fcntl.flock(self._device, fcntl.LOCK_EX)
        try:
            time.sleep(SECONDS_A_BATCH + count * height * width / PIXELS_A_SECOND)
        finally:
            fcntl.flock(self._device, fcntl.LOCK_UN)
        return {
            each: np.broadcast_to(
                self._planes[each][: height * each, : width * each], (count, height * each, width * each)
            )
            for each in self.info.scales
            if each <= scale
        }

    def warm_up(self, shapes: Sequence[tuple[int, int, int]]) -> None:
        """Nothing to warm."""


def build(folder: Path) -> dict[str, TileModel]:
    """A worker's factory, but for the argument."""
    model = SimulatedDevice(folder)
    return {model.info.name: model}


if __name__ == "__main__":
    leave(serve(models=[functools.partial(build, Path(sys.argv[1]))]))
