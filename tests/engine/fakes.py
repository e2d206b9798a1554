"""Models with predictable output, and an observer that remembers."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.engine import Plane
from app.engine.tiles import Cutting, TileSizes
from tests.fakes import FakeInfo

Tiles = NDArray[np.float32]


def upsample(padded: Tiles, margin: int, scale: int) -> Tiles:
    """(N, H + 2 margin, W + 2 margin) -> (N, H scale, W scale): nearest, plus what surrounds a pixel.

    Every weight is a small integer and so is every value in the tests: float32 is exact, and results can be compared
    with ==. Weights differ by direction, so that a transposed or shifted window shows.
    """
    height, width = padded.shape[1] - 2 * margin, padded.shape[2] - 2 * margin
    centre = padded[:, margin : margin + height, margin : margin + width]
    mixed = 2 * centre
    for distance in range(1, margin + 1):
        mixed = mixed + 3 * padded[:, margin - distance :][:, :height, margin : margin + width]
        mixed = mixed + 5 * padded[:, margin + distance :][:, :height, margin : margin + width]
        mixed = mixed + 7 * padded[:, margin : margin + height, margin - distance :][:, :, :width]
        mixed = mixed + 11 * padded[:, margin : margin + height, margin + distance :][:, :, :width]
    mixed = mixed + 13 * padded[:, :height, :width]
    phases = np.arange(scale * scale, dtype=np.float32).reshape(scale, scale)
    large = mixed.repeat(scale, axis=1).repeat(scale, axis=2)
    result: Tiles = (large + np.tile(phases, (height, width))).astype(np.float32)
    return result


def pad(plane: Plane, margin: int) -> Plane:
    """The canonical padding, by numpy itself."""
    return np.pad(plane, margin, mode="symmetric")


def expected(plane: Plane, scale: int, margin: int = 3) -> dict[int, Plane]:
    """What the whole picture gives in one piece."""
    padded = pad(plane, margin)[None]
    return {level: upsample(padded, margin, level)[0] for level in (2, 4, 8) if level <= scale}


def assert_upscaled(planes: list[Plane], outputs: list[dict[int, Plane]], scale: int = 4) -> None:
    """`outputs` are the whole pictures upscaled, at every level up to `scale`."""
    assert len(outputs) == len(planes)
    for plane, levels in zip(planes, outputs, strict=True):
        wanted = expected(plane, scale)
        assert levels.keys() == wanted.keys()
        for level in wanted:
            assert levels[level].dtype == np.float32
            assert levels[level].flags.c_contiguous
            np.testing.assert_array_equal(levels[level], wanted[level])


def cutting(*sizes: int, margin: int = 3, extra: int = 0, workers: int = 1, split_above: int = 0) -> Cutting:
    """Cores of these heights and widths, ascending; a tile costs `margin` along an axis beside its core."""
    return Cutting(TileSizes(sizes, sizes), margin + extra, margin, workers, split_above)


@dataclass(frozen=True)
class Worked(FakeInfo):
    """A network of margin 3 that takes the same `amount` of work for every tile."""

    margin: int = 3
    amount: int = 1

    def work(self, height: int, width: int, scale: int) -> int:
        """The same for all."""
        return self.amount


def picture(height: int, width: int, seed: int = 0) -> Plane:
    """Small integers without structure."""
    return np.random.default_rng(seed).integers(1, 50, (height, width)).astype(np.float32)


class FakeModel:
    """`upsample` as a TileModel. `before` is called with every batch and may raise, wait or count."""

    def __init__(
        self,
        before: Callable[[Tiles, int, bool], None] | None = None,
        after: Callable[[dict[int, Tiles], Tiles, bool], dict[int, Tiles]] | None = None,
        *,
        margin: int = 3,
        wider: int = 0,
        scales: tuple[int, ...] = (2, 4),
        device: str = "cpu",
        name: str = "fake",
        cleans: bool = False,
    ) -> None:
        """With `cleans` it has a clean-up, that adds 1000 times its strength; not for compression, half of it."""
        strengths = {"jpeg": [(0, 1.0), (100, 0.0)]} if cleans else {}
        self.info = FakeInfo(name=name, scales=scales, margin=margin, wider=wider, device=device, strengths=strengths)
        self.before = before
        self.after = after
        self.calls: list[tuple[tuple[int, ...], int, bool]] = []
        self.warmed: list[tuple[int, int, int]] = []
        self._thread: int | None = None

    def run(
        self, tiles: Tiles, scale: int, *, full_precision: bool = False, clean: float = 0.0, compressed: bool = True
    ) -> dict[int, Tiles]:
        self._thread = self._thread or threading.get_ident()
        assert self._thread == threading.get_ident(), "a model belongs to one thread"
        self.calls.append((tiles.shape, scale, full_precision))
        if self.before:
            self.before(tiles, scale, full_precision)
        wider, margin = self.info.wider, self.info.margin
        seen = tiles[:, wider : tiles.shape[1] - wider, wider : tiles.shape[2] - wider]
        levels = [level for level in self.info.scales if level <= scale]
        added = np.float32(1000 * clean if compressed else 500 * clean)
        cores = {level: upsample(seen, margin, level) + added for level in levels}
        return self.after(cores, tiles, full_precision) if self.after else cores

    def warm_up(self, shapes: Sequence[tuple[int, int, int]]) -> None:
        self.warmed = list(shapes)


class Gate:
    """Holds a model in the middle of its next batch until the test lets it go on."""

    def __init__(self) -> None:
        self._entered = threading.Semaphore(0)
        self._passes = threading.Semaphore(0)

    def __call__(self, tiles: Tiles | None = None, scale: int = 0, full_precision: bool = False) -> None:
        self._entered.release()
        assert self._passes.acquire(timeout=30), "the test never opened the gate"

    def wait_entered(self, times: int = 1) -> None:
        """Wait until the model has come here so many times more."""
        for _ in range(times):
            assert self._entered.acquire(timeout=30), "the model was never called"

    def open(self, batches: int = 1_000) -> None:
        """Let so many batches pass."""
        self._passes.release(batches)


class Ear:
    """A Listener that remembers."""

    def __init__(self) -> None:
        self.progress: list[tuple[int, int, int]] = []
        self.ends: list[Exception | None] = []

    def progressed(self, done: int, total: int, rows: int) -> None:
        self.progress.append((done, total, rows))

    def settled(self, error: Exception | None) -> None:
        self.ends.append(error)


class Recorder:
    """An EngineObserver that remembers; `seen` lets a test wait for an event."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.stages: list[tuple[str, float]] = []
        self.queues: list[tuple[int, float]] = []
        self.workers: list[tuple[str, str, bool]] = []
        self.restarts: Counter[str] = Counter()
        self._changed = threading.Condition()

    def batch(self, tiles: int, seconds: float, worker: str) -> None:
        assert seconds >= 0
        assert worker
        self._note(lambda: self.batches.append(tiles))

    def queue(self, tiles: int, age: float) -> None:
        self._note(lambda: self.queues.append((tiles, age)))

    def worker(self, worker: str, device: str, up: bool) -> None:
        self._note(lambda: self.workers.append((worker, device, up)))

    def worker_restarted(self, worker: str) -> None:
        self._note(lambda: self.restarts.update([worker]))

    def stage(self, name: str, seconds: float) -> None:
        self._note(lambda: self.stages.append((name, seconds)))

    def _note(self, change: Callable[[], None]) -> None:
        with self._changed:
            change()
            self._changed.notify_all()

    def wait_for(self, predicate: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(predicate, timeout=30), "the event never came"
