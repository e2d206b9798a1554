"""A network without torch: nearest-neighbour enlargement behind the TileModel protocol, with switches to misbehave."""

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MARGIN = 9


class FakeModel:
    """Repeats every pixel. With `gate`, every run waits until it is set; with `error`, every run raises it."""

    def __init__(
        self,
        scales: tuple[int, ...] = (2, 4),
        gate: threading.Event | None = None,
        error: Exception | None = None,
        name: str = "fake_x4",
        companions: Sequence["FakeModel"] = (),
    ) -> None:
        self.name = name
        self.device = "cpu"
        self.dtype = "float32"
        self.margin = MARGIN
        self.scales = scales
        self.companions: Sequence[FakeModel] = companions
        self.tiles_run = 0
        self._gate = gate
        self._error = error

    def run(
        self, tiles: NDArray[np.float32], scale: int, *, full_precision: bool = False
    ) -> dict[int, NDArray[np.float32]]:
        if self._gate is not None and not self._gate.wait(timeout=30):
            raise TimeoutError("the test never opened the gate")
        if self._error is not None:
            raise self._error
        self.tiles_run += len(tiles)
        core = tiles[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
        return {s: core.repeat(s, axis=1).repeat(s, axis=2) for s in self.scales if s <= scale}

    def warm_up(self, shapes: Sequence[tuple[int, int, int]]) -> None:
        """Nothing to warm; the gate is for requests only."""
