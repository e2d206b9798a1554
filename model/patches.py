"""Training patches, sampled where there is something to learn, on the device that trains."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.data import BLACK, CELL, GAIN, DataConfig, Gray, find_pictures, open_pyramids, pyramid, read_gray

Indices = NDArray[np.int64]


class PatchSource:
    """Patches of one set of pictures; batch `step` of rank `rank` is always the same, so a resumed run continues.

    On a CPU the pixels stay in the mapped file; another device holds a copy of them all, and cuts the patches itself.
    """

    def __init__(self, folders: Sequence[Path], config: DataConfig, cache: Path, device: str = "cpu") -> None:
        self.config = config
        paths = find_pictures(folders)
        every = min(config.hold_out, max(len(paths), 2))  # of few pictures the last one is held out
        self.held_out = [path for i, path in enumerate(paths) if i % every == every - 1]
        self.used = [path for i, path in enumerate(paths) if i % every != every - 1]
        self.pyramids = open_pyramids(self.used, config, cache)
        self._pixels = torch.from_numpy(self.pyramids.pixels).to(device)
        maps = self.pyramids.maps
        self._columns = np.array([each.shape[1] for each in maps])
        self._firsts = np.cumsum([0] + [each.size for each in maps])
        self._cumulative = np.cumsum(np.concatenate([each.ravel() for each in maps]), dtype=np.float64)

    def batch(self, step: int, size: int, rank: int = 0) -> list[Tensor]:
        """[low resolution with its margin (N, 1, c + 2m, c + 2m), x2 (N, 1, 2c, 2c), ...]: luma in 0..1, float32."""
        rng = np.random.default_rng((self.config.seed, step, rank))
        pictures, tops, lefts = self._places(rng, size)
        turns = rng.integers(4, size=size) if self.config.turns else np.zeros(size, np.int64)
        flips = rng.integers(2, size=size) if self.config.flips else np.zeros(size, np.int64)
        batch = []
        for level in range(self.pyramids.starts.shape[1]):
            margin, core = (self.config.margin, self.config.core) if level == 0 else (0, self.config.core << level)
            reach = np.arange(-margin, core + margin)
            # The margin beyond a picture's own border is its reflection, as in serving.
            rows = reflect((tops[:, None] << level) + reach, self.pyramids.heights[pictures, level, None])
            columns = reflect((lefts[:, None] << level) + reach, self.pyramids.widths[pictures, level, None])
            down, right = turned(rows * self.pyramids.widths[pictures, level, None], columns, turns, flips)
            down += self.pyramids.starts[pictures, level, None]
            patches = self._pixels[self._there(down)[:, None, :, None] + self._there(right)[:, None, None, :]]
            batch.append(patches.float().mul_(GAIN / 255).add_(BLACK))
        return batch

    def _places(self, rng: np.random.Generator, size: int) -> tuple[Indices, Indices, Indices]:
        """Pyramid, top and left in low-resolution pixels of `size` patches."""
        cells = np.searchsorted(self._cumulative, rng.random(size) * self._cumulative[-1], side="right")
        cells = np.minimum(cells, len(self._cumulative) - 1)
        pictures = np.searchsorted(self._firsts, cells, side="right") - 1
        rows, columns = np.divmod(cells - self._firsts[pictures], self._columns[pictures])
        heights, widths = (sides[pictures, 0] for sides in (self.pyramids.heights, self.pyramids.widths))
        tops = np.minimum(rows * CELL + rng.integers(CELL, size=size), heights - self.config.core)
        lefts = np.minimum(columns * CELL + rng.integers(CELL, size=size), widths - self.config.core)
        return pictures, tops, lefts

    def _there(self, indices: Indices) -> Tensor:
        """Where the pixels are; on an accelerator without waiting for what it is busy with."""
        tensor = torch.from_numpy(indices)
        return tensor.pin_memory().to(self._pixels.device, non_blocking=True) if self._pixels.is_cuda else tensor

    def validation(self) -> Iterator[tuple[Gray, list[Gray]]]:
        """Held-out pictures as (low resolution, [x2, x4, ...]), 8-bit gray."""
        for path in self.held_out:
            levels = pyramid(read_gray(path), self.config.scale)
            yield levels[0], levels[1:]


def turned(rows: Indices, columns: Indices, turns: Indices, flips: Indices) -> tuple[Indices, Indices]:
    """What to add up for each row and column of N patches that are mirrored left to right, then turned a quarter each.

    `rows` and `columns` (N, S): pixel (i, j) of a patch that is not turned is at rows[i] + columns[j].
    """
    upside_down, mirrored, lying = turns >= 2, (turns % 3 > 0) != flips, turns % 2 == 1
    down = np.where(lying[:, None], columns, rows)
    right = np.where(lying[:, None], rows, columns)
    down = np.where(upside_down[:, None], down[:, ::-1], down)
    return down, np.where(mirrored[:, None], right[:, ::-1], right)


def reflect(indices: Indices, length: int | Indices) -> Indices:
    """Indices beyond 0..length-1 mirrored back about the first and the last sample, which are not repeated."""
    period = np.maximum(2 * (np.asarray(length) - 1), 1)
    folded = np.abs(indices) % period
    mirrored: Indices = np.where(folded < length, folded, period - folded)
    return mirrored
