"""A network without torch: nearest-neighbour enlargement behind the TileModel protocol, with switches to misbehave."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from app.codec import Codec
from app.engine import ModelFactory, TileModel

MARGIN = 9


@contextmanager
def results_as_planes_say() -> Iterator[None]:
    """Applications made meanwhile repeat pixels as the fake network does.

    Otherwise they would bring its result nearer to the source, as tests/codec/test_consistency.py checks.
    """
    with mock.patch("app.build.Codec", partial(Codec, consistent=False)):
        yield


@dataclass(frozen=True)
class FakeInfo:
    """A NetworkInfo."""

    name: str = "fake_x4"
    scales: tuple[int, ...] = (2, 4)
    margin: int = MARGIN
    wider: int = 0
    device: str = "cpu"
    dtype: str = "float32"
    backend: str = "fake"
    purpose: str = ""
    full_strength_of: str = ""
    deep_of: str = ""
    strengths: Mapping[str, Any] = field(default_factory=dict)
    waypoints: Mapping[str, str] = field(default_factory=dict)
    sha256: str = ""
    scores: Mapping[str, Any] = field(default_factory=dict)
    config: object = None

    def work(self, height: int, width: int, scale: int) -> int:
        """Output pixels of the core."""
        return height * width * scale**2

    @property
    def window_margin(self) -> int:
        """`wider` than the margin."""
        return self.margin + self.wider


class FakeModel:
    """Repeats every pixel; clean-up darkens it, by half at full strength.

    With `gate`, every run waits until it is set; with `error`, every run raises it.
    """

    def __init__(
        self,
        scales: tuple[int, ...] = (2, 4),
        gate: threading.Event | None = None,
        error: Exception | None = None,
        **about: Any,
    ) -> None:
        """`about` are more fields of its FakeInfo."""
        self.info = FakeInfo(scales=scales, **about)
        self.tiles_run = 0
        self._gate = gate
        self._error = error

    def run(
        self,
        tiles: NDArray[np.float32],
        scale: int,
        *,
        full_precision: bool = False,
        clean: float = 0.0,
        compressed: bool = True,
    ) -> dict[int, NDArray[np.float32]]:
        if self._gate is not None and not self._gate.wait(timeout=30):
            raise TimeoutError("the test never opened the gate")
        if self._error is not None:
            raise self._error
        self.tiles_run += len(tiles)
        core = tiles[:, MARGIN:-MARGIN, MARGIN:-MARGIN] * np.float32(1 - clean / 2)
        return {s: core.repeat(s, axis=1).repeat(s, axis=2) for s in self.info.scales if s <= scale}

    def warm_up(self, shapes: Sequence[tuple[int, int, int]]) -> None:
        """Nothing to warm; the gate is for requests only."""


Build = Callable[[], TileModel | Sequence[TileModel]]


def worker(build: Build) -> ModelFactory:
    """A worker's factory of what `build` gives: one model, or several, the first one first."""

    def make() -> dict[str, TileModel]:
        built = build()
        return {model.info.name: model for model in (built if isinstance(built, Sequence) else [built])}

    return make
