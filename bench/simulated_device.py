"""`python -m bench.simulated_device FOLDER`: the service with a simulated GPU, shared by all of its replicas.

A batch takes the time that it takes on a fast GPU, in which this process only waits, and one batch runs at a time.
The pixels are those of the real network, which the CPU makes the first time that a tile comes: show every picture once
before anything is measured.
"""

import fcntl
import functools
import os
import struct
import sys
import time
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.build import open_model
from app.engine import NetworkInfo, TileModel
from app.main import serve
from app.process.early_signals import leave
from app.settings import Settings

PIXELS_A_SECOND = 64e6
"""Of low resolution: `python -m bench --only accelerator` on an H200."""
SECONDS_A_BATCH = 0.001
_DEVICE, _SECONDS = "device", struct.Struct("d")


class SimulatedDevice:
    """A TileModel that waits, and answers with what `network` made of the same tile before."""

    def __init__(self, network: TileModel, folder: Path) -> None:
        """`folder` has the file that only one process at a time may lock, which stands for the device."""
        info: Any = network.info
        self.info: NetworkInfo = replace(info, device="cuda:0", dtype="float16")
        self._network = network
        self._device = os.open(folder / _DEVICE, os.O_CREAT | os.O_RDWR)
        self._made: dict[tuple[int, int], dict[int, NDArray[np.float32]]] = {}

    def run(
        self,
        tiles: NDArray[np.float32],
        scale: int,
        *,
        full_precision: bool = False,
        clean: float = 0.0,
        compressed: bool = True,
    ) -> dict[int, NDArray[np.float32]]:
        """Tiles of (count, height, width) with margins. All strengths of clean-up are one."""
        began = time.thread_time()
        made = [self._answer(tile, scale) for tile in tiles]
        answer = {level: np.stack([each[level] for each in made]) for level in made[0]}
        count, height, width = (tiles.shape[0], *(side - 2 * self.info.window_margin for side in tiles.shape[1:]))
        fcntl.flock(self._device, fcntl.LOCK_EX)
        try:
            time.sleep(SECONDS_A_BATCH + count * height * width / PIXELS_A_SECOND)
            spent = _SECONDS.unpack(os.pread(self._device, _SECONDS.size, 0) or bytes(_SECONDS.size))[0]
            os.pwrite(self._device, _SECONDS.pack(spent + time.thread_time() - began), 0)
        finally:
            fcntl.flock(self._device, fcntl.LOCK_UN)
        return answer

    def _answer(self, tile: NDArray[np.float32], scale: int) -> dict[int, NDArray[np.float32]]:
        key = zlib.crc32(tile.tobytes()), scale
        if key not in self._made:
            self._made[key] = {level: planes[0] for level, planes in self._network.run(tile[None], scale).items()}
        return self._made[key]

    def warm_up(self, shapes: Sequence[tuple[int, int, int]]) -> None:
        """Nothing to warm."""


def cpu_seconds(folder: Path) -> float:
    """CPU time that the device in this folder took so far, to find and copy pixels, which a GPU would not take."""
    return float(_SECONDS.unpack((folder / _DEVICE).read_bytes())[0])


def build(folder: Path) -> dict[str, TileModel]:
    """A worker's factory, but for the argument."""
    network = next(iter(open_model(Settings(), None).factories[0]().values()))
    return {network.info.name: SimulatedDevice(network, folder)}


if __name__ == "__main__":
    leave(serve(models=[functools.partial(build, Path(sys.argv[1]))]))
