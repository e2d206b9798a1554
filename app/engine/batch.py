"""Runs one batch through the network, and handles its failures: out of memory, broken tiles, values not finite."""

import logging
import threading
import time
from collections.abc import Hashable, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.engine.config import EngineConfig
from app.engine.networks import levels_of
from app.engine.ports import EngineObserver, TileModel
from app.engine.request import Tile
from app.engine.scheduler import Scheduler
from app.engine.tiles import Shape
from app.errors import InferenceFailed

_log = logging.getLogger(__name__)


_Group: TypeAlias = tuple[list[Tile], bool]
"""Tiles to run together, and whether in full precision."""


class WorkerBroken(BaseException):
    """The worker is at fault, not the tile: a gray tile fails as well, or the worker was released as hung.

    Not an Exception, so that handlers of failing tiles do not catch it.
    """


class BatchLimit:
    """How many tiles a batch may have; halved when memory runs out, and doubled again after many successful batches."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._pixels = config.max_batch_pixels
        self._good = 0

    def __call__(self, shape: Shape) -> int:
        """The maximum number of tiles of a shape, at least one."""
        return max(1, min(self._config.max_batch_tiles, self._pixels // shape.pixels))

    def halve(self, shape: Shape, tiles: int) -> None:
        """Limits batches to half of this one from now on."""
        self._pixels = max(1, min(self._pixels, shape.pixels * tiles // 2))
        self._good = 0

    def succeeded(self) -> None:
        """Counts a successful batch."""
        self._good += 1
        if self._good >= self._config.memory_recovery_batches:
            self._pixels = min(self._config.max_batch_pixels, self._pixels * 2)
            self._good = 0


class BatchRunner:
    """Runs batches on one worker's models, in one thread, with one input buffer that every batch reuses.

    `holder` is the holder of the tiles in the scheduler. `may_write` is locked while cores are written; `release` locks
    it too, so that nothing is written afterwards.
    """

    def __init__(
        self,
        models: Mapping[str, TileModel],
        scheduler: Scheduler,
        config: EngineConfig,
        observer: EngineObserver,
        holder: Hashable,
    ) -> None:
        self.limit = BatchLimit(config)
        self.may_write = threading.Lock()
        self.busy_since: float | None = None
        """When the current call of the network began, in time.monotonic() seconds."""
        self._released = False
        self._models = models
        self._scheduler = scheduler
        self._observer = observer
        self._holder = holder
        self._fill = config.fill_batches
        self._buffer = np.empty(0, np.float32)

    def release(self) -> None:
        """Prevents all further writes."""
        with self.may_write:
            self._released = True

    def run(self, batch: list[Tile]) -> None:
        """Computes and writes every tile of the batch, or fails its request.

        A failing batch is halved repeatedly, down to single tiles; a failing single tile is tried once more. A tile
        with values that are not finite is computed again in full precision. Raises WorkerBroken when the worker is at
        fault.
        """
        groups: list[_Group] = [(batch, False)]
        while groups:
            tiles, full_precision = groups.pop()
            tiles = self._still_wanted(tiles)
            limit = self.limit(tiles[0].shape) if tiles else 0
            if len(tiles) > limit:
                groups += [(tiles[limit:], full_precision), (tiles[:limit], full_precision)]
            elif tiles:
                groups += self._compute(tiles, full_precision)

    def _still_wanted(self, tiles: list[Tile]) -> list[Tile]:
        """Hands back the tiles whose requests have ended meanwhile, and returns the others."""
        self._scheduler.finished(self._holder, [tile for tile in tiles if tile.request.closed])
        return [tile for tile in tiles if not tile.request.closed]

    def _compute(self, tiles: list[Tile], full_precision: bool) -> list[_Group]:
        """Runs a group; returns the groups to run instead of it or after it, last one first."""
        shape, began = tiles[0].shape, time.monotonic()
        try:
            bad = self._attempt(tiles, full_precision)
        except Exception as error:
            if isinstance(error, MemoryError):
                size = self._size(tiles)
                _log.warning("out of memory on %d tiles of %s; halving the batch limit", size, shape)
                self.limit.halve(shape, size)
                if size > len(tiles):
                    return [(tiles, full_precision)]
            if len(tiles) > 1:
                _log.warning("a batch of %d tiles of %s failed, splitting it: %r", len(tiles), shape, error)
                middle = len(tiles) // 2
                return [(tiles[middle:], full_precision), (tiles[:middle], full_precision)]
            bad = self._retry(tiles[0], full_precision, error)
        else:
            self.limit.succeeded()
        good = [tile for tile in tiles if tile not in bad]
        self._scheduler.finished(self._holder, good, time.monotonic() - began)
        if bad and not full_precision:
            _log.warning("%d of %d tiles are not finite; computing them in full precision", len(bad), len(tiles))
            return [(bad, True)]
        for tile in bad:
            failure = InferenceFailed("the network's output is not finite, even in full precision")
            self._scheduler.failed(self._holder, tile, failure)
        return []

    def _retry(self, tile: Tile, full_precision: bool, error: Exception) -> list[Tile]:
        """Retries a single tile that failed; returns it if its output is not finite."""
        try:
            return self._attempt([tile], full_precision)
        except Exception as again:
            if not isinstance(again, MemoryError):
                self._probe(tile.shape)
            _log.error("a single tile of %s failed twice, its request fails", tile.shape, exc_info=again)
            failure = InferenceFailed("the network failed twice on a part of this picture; another picture may work")
            failure.__cause__ = error
            self._scheduler.failed(self._holder, tile, failure)
            return []

    def _probe(self, shape: Shape) -> None:
        """Raises WorkerBroken if a gray tile fails, too."""
        try:
            self._infer(self._input(1, shape, fill=0.5), shape, full_precision=False, wanted=1)
        except Exception as error:
            raise WorkerBroken(f"a gray tile fails as well: {error!r}") from error

    def _attempt(self, tiles: list[Tile], full_precision: bool) -> list[Tile]:
        """Computes and writes the tiles; returns those that were not written because they are not finite."""
        shape = tiles[0].shape
        windows = self._input(self._size(tiles), shape)
        for window, tile in zip(windows, tiles, strict=False):
            tile.read(window)
        windows[len(tiles) :] = 0
        cores = self._infer(windows, shape, full_precision, len(tiles))
        bad = _not_finite(cores, len(tiles))
        with self.may_write:
            if self._released:
                raise WorkerBroken("released while it computed")
            for index, tile in enumerate(tiles):
                if index in bad or tile.request.closed:
                    continue
                for level in tile.outputs:
                    tile.write(level, cores[level][index])
        return [tiles[index] for index in bad]

    def _size(self, tiles: list[Tile]) -> int:
        """The batch size for these tiles, which may include padding."""
        return max(len(tiles), self.limit(tiles[0].shape)) if self._fill else len(tiles)

    def _input(self, count: int, shape: Shape, fill: float | None = None) -> NDArray[np.float32]:
        """A view (count, H + 2 window_margin, W + 2 window_margin) of the buffer, uninitialised without `fill`."""
        margin = self._models[shape.network].info.window_margin
        height, width = shape.height + 2 * margin, shape.width + 2 * margin
        needed = count * height * width
        if self._buffer.size < needed:
            self._buffer = np.empty(needed, np.float32)
        if fill is not None:
            self._buffer[:needed] = fill
        return self._buffer[:needed].reshape(count, height, width)

    def _infer(
        self, windows: NDArray[np.float32], shape: Shape, full_precision: bool, wanted: int
    ) -> dict[int, NDArray[np.float32]]:
        """Calls the network, checks the levels and shapes it returns, and reports a batch of `wanted` tiles."""
        model = self._models[shape.network]
        self.busy_since = began = time.monotonic()
        try:
            cores = model.run(
                windows, shape.scale, full_precision=full_precision, clean=shape.clean, compressed=shape.compressed
            )
        finally:
            self.busy_since = None
        for level in levels_of(model.info, shape.scale):
            expected = (len(windows), shape.height * level, shape.width * level)
            if level not in cores or cores[level].shape != expected:
                got = cores[level].shape if level in cores else sorted(cores)
                raise ValueError(f"the network should have returned {expected} for level {level}, got {got}")
        self._observer.batch(wanted, time.monotonic() - began, str(self._holder))
        return cores


def _not_finite(cores: dict[int, NDArray[np.float32]], count: int) -> list[int]:
    """The indices of tiles with a NaN or an infinity at any level. A sum of finite cores is finite."""
    with np.errstate(all="ignore"):
        sums = sum(core.sum(axis=(1, 2), dtype=np.float32) for core in cores.values())
    return [index for index in range(count) if not np.isfinite(sums[index])]
