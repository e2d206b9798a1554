"""The interfaces the engine depends on: a model that maps tiles to cores, and an observer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Plane: TypeAlias = NDArray[np.float32]
"""float32, (height, width), 1.0 = the full-scale code."""


class NetworkInfo(Protocol):
    """Immutable facts about a network on a device, read once, when its weights are opened."""

    @property
    def name(self) -> str:
        """The name that requests use, e.g. "lapsrn_x4"."""

    @property
    def purpose(self) -> str:
        """What it does besides enlarging, in a few words; "" if nothing."""

    @property
    def full_strength_of(self) -> str:
        """The network that equals this one at full clean-up strength; "" if there is none."""

    @property
    def deep_of(self) -> str:
        """The network whose deep companion this one is; "" if it is not a companion."""

    @property
    def strengths(self) -> Mapping[str, Sequence[tuple[int, float]]]:
        """Clean-up strengths: kind of finding -> points (amount, strength); {} if it has no clean-up."""

    @property
    def waypoints(self) -> Mapping[str, str]:
        """Name -> SHA-256 of the weights files that its clean-up passes through, at strengths above 0 and up to 1."""

    @property
    def scales(self) -> tuple[int, ...]:
        """The pyramid levels, ascending: (2, 4) or (2, 4, 8)."""

    @property
    def margin(self) -> int:
        """The radius of the receptive field, in source pixels."""

    @property
    def window_margin(self) -> int:
        """Source pixels that a tile has on each side of its core; at least `margin`."""

    def work(self, height: int, width: int, scale: int) -> int:
        """The work for a core of height x width source pixels at all levels up to `scale`, in any unit that all
        networks of an engine share."""

    @property
    def config(self) -> object:
        """The architecture, in a form of the model's choice."""

    @property
    def sha256(self) -> str:
        """The hash of the weights file, in hexadecimal."""

    @property
    def scores(self) -> Mapping[str, Mapping[str, Mapping[str, float]]]:
        """Measured quality: {"Set5": {"4": {"psnr": dB, "ssim": 0..1}}}."""

    @property
    def device(self) -> str:
        """Where it runs: "cpu", "cuda:0"."""

    @property
    def dtype(self) -> str:
        """The type in which features are computed: "float32", "bfloat16"."""

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

        `clean` is a clean-up strength, a multiple of 1/8 in 0..1, and 0.0 if `info.strengths` is empty; `compressed` is
        whether the picture has compression losses.
        A tile's result must not depend on its neighbours in the batch. The arrays may be overwritten by the next call.
        Raises MemoryError when the batch does not fit; any other exception counts as a failure of a tile.
        """

    def warm_up(self, shapes: Sequence[tuple[int, int, int]]) -> None:
        """Prepares for inputs of these shapes, each the (N, height, width) of cores, at every level."""


ModelFactory: TypeAlias = Callable[[], Mapping[str, TileModel]]
"""Builds one worker's networks by name, at least one; called in the worker's thread. A request that names no network
gets the first one with its scale."""


class EngineObserver(Protocol):
    """Receives the engine's events, on worker threads as well as on the event loop, so it must return quickly."""

    def batch(self, tiles: int, seconds: float, worker: str) -> None:
        """The network has computed a batch of `tiles` in `seconds`."""

    def queue(self, tiles: int, age: float) -> None:
        """`tiles` are waiting; the oldest request that no worker has begun has waited for `age` seconds."""

    def worker(self, worker: str, device: str, up: bool) -> None:
        """A worker came up or went down; `device` is "" for one that has never been up."""

    def worker_restarted(self, worker: str) -> None:
        """A worker that died or hung was replaced."""

    def stage(self, name: str, seconds: float) -> None:
        """A request spent `seconds` in the stage "queue" (waiting for its first tile) or "infer"."""
