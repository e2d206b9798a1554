"""What the engine needs from its surroundings: a model that maps tiles to cores, and an observer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Plane: TypeAlias = NDArray[np.float32]
"""float32, (height, width), 1.0 = the full-scale code."""


class NetworkInfo(Protocol):
    """Facts about a network on a device: made once, when its weights are opened, and never changed."""

    @property
    def name(self) -> str:
        """The name that requests use, e.g. "lapsrn_x4"."""

    @property
    def purpose(self) -> str:
        """What it does besides enlarging, in a few words; "" if nothing."""

    @property
    def full_strength_of(self) -> str:
        """The network that this one is at full strength of clean-up; "" if it is a network of its own."""

    @property
    def deep_of(self) -> str:
        """The network whose deep companion this one is; "" if it is a network of its own."""

    @property
    def strengths(self) -> Mapping[str, Sequence[tuple[int, float]]]:
        """Strengths of clean-up by kind of finding: points (amount, strength); {} if it has no clean-up."""

    @property
    def waypoints(self) -> Mapping[str, str]:
        """The SHA-256 of the weights files between the two ends of its clean-up, by name."""

    @property
    def scales(self) -> tuple[int, ...]:
        """The pyramid levels, ascending: (2, 4) or (2, 4, 8)."""

    @property
    def margin(self) -> int:
        """Source pixels that an output pixel can see on each side."""

    @property
    def window_margin(self) -> int:
        """Source pixels that a tile has on each side of its core; at least the margin."""

    def work(self, height: int, width: int, scale: int) -> int:
        """How much work a tile's core of height x width is at every level up to `scale`, in any unit that all networks
        of an engine share."""

    @property
    def config(self) -> object:
        """Its architecture, in the model's own terms."""

    @property
    def sha256(self) -> str:
        """Of its weights file, in hexadecimal."""

    @property
    def scores(self) -> Mapping[str, Mapping[str, Mapping[str, float]]]:
        """Measured quality: {"Set5": {"4": {"psnr": dB, "ssim": 0..1}}}."""

    @property
    def device(self) -> str:
        """Where it runs: "cpu", "cuda:0"."""

    @property
    def dtype(self) -> str:
        """What it computes features in: "float32", "bfloat16"."""

    @property
    def backend(self) -> str:
        """The name of the backend that computes it."""


class TileModel(Protocol):
    """A network on one device. Every worker has its own and calls it from its own thread only."""

    @property
    def info(self) -> NetworkInfo:
        """Facts about the network."""

    def run(
        self,
        tiles: NDArray[np.float32],
        scale: int,
        *,
        full_precision: bool = False,
        clean: float = 0.0,
        compressed: bool = True,
    ) -> dict[int, NDArray[np.float32]]:
        """Maps (N, H + 2 window_margin, W + 2 window_margin) to {s: (N, H s, W s)} for every level s <= scale.

        `clean` is a strength of clean-up in eighths, other than 0.0 only where `info.strengths` is not empty;
        `compressed` is whether it is for a picture with losses of compression.
        A tile's result must not depend on its neighbours in the batch. The arrays may be overwritten by the next call.
        Raises MemoryError when the batch does not fit; any other exception is taken for a failure of a tile.
        """

    def warm_up(self, shapes: Sequence[tuple[int, int, int]]) -> None:
        """Gets ready for inputs of these shapes, each the (N, height, width) of cores, at every level."""


ModelFactory: TypeAlias = Callable[[], Mapping[str, TileModel]]
"""Builds one worker's networks by name, at least one; called in the worker's thread. A request that names none gets
the first one with its scale."""


class EngineObserver(Protocol):
    """Is notified of what the engine does, from worker threads as well as the event loop, so it must be quick."""

    def batch(self, tiles: int, seconds: float, worker: str) -> None:
        """One call of the network is over: how many tiles it had, and how long it took."""

    def queue(self, tiles: int, age: float) -> None:
        """So many tiles wait, the oldest request of them for `age` seconds."""

    def worker(self, worker: str, device: str, up: bool) -> None:
        """A worker came up or went down."""

    def worker_restarted(self, worker: str) -> None:
        """A worker that had died or hung was replaced."""

    def stage(self, name: str, seconds: float) -> None:
        """A request spent `seconds` in the stage "queue" (waiting for its first tile) or "infer"."""
