"""Training patches, sampled where there is something to learn, on the device that trains."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model.pictures import find_pictures, through_jpeg
from model.training.data import (
    BLACK,
    CELL,
    GAIN,
    DataConfig,
    Gray,
    open_pyramids,
    pyramid,
    read_gray,
)


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
        there = [self.pyramids.pixels, self.pyramids.starts, self.pyramids.heights, self.pyramids.widths]
        self._pixels, self._starts, self._heights, self._widths = (torch.from_numpy(each).to(device) for each in there)
        maps = self.pyramids.maps
        self._columns = np.array([each.shape[1] for each in maps])
        self._firsts = np.cumsum([0] + [each.size for each in maps])
        self._cumulative = np.cumsum(np.concatenate([each.ravel() for each in maps]), dtype=np.float64)

    def batch(self, step: int, size: int, rank: int = 0) -> list[Tensor]:
        """[low resolution with its margin (N, 1, c + 2m, c + 2m), x2 (N, 1, 2c, 2c), ...]: luma in 0..1, float32."""
        return self.cut(self.choose(step, size, rank).to(self._pixels.device))

    def choose(self, step: int, size: int, rank: int = 0) -> Tensor:
        """What the batch is made of, on the CPU: (5, N) of pyramid, top, left, quarter turns, and whether mirrored."""
        rng = np.random.default_rng((self.config.seed, step, rank))
        cells = np.searchsorted(self._cumulative, rng.random(size) * self._cumulative[-1], side="right")
        cells = np.minimum(cells, len(self._cumulative) - 1)
        pictures = np.searchsorted(self._firsts, cells, side="right") - 1
        rows, columns = np.divmod(cells - self._firsts[pictures], self._columns[pictures])
        heights, widths = (sides[pictures, 0] for sides in (self.pyramids.heights, self.pyramids.widths))
        tops = np.minimum(rows * CELL + rng.integers(CELL, size=size), heights - self.config.core)
        lefts = np.minimum(columns * CELL + rng.integers(CELL, size=size), widths - self.config.core)
        turns = rng.integers(4, size=size) if self.config.turns else np.zeros(size, np.int64)
        flips = rng.integers(2, size=size) if self.config.flips else np.zeros(size, np.int64)
        return torch.from_numpy(np.stack([pictures, tops, lefts, turns, flips]))

    def cut(self, chosen: Tensor) -> list[Tensor]:
        """The batch that `choose` describes, where the pixels are."""
        pictures, tops, lefts, turns, flips = chosen
        batch = []
        for level in range(self._starts.shape[1]):
            margin, core = (self.config.margin, self.config.core) if level == 0 else (0, self.config.core << level)
            reach = torch.arange(-margin, core + margin, device=chosen.device)
            start, height, width = (of[pictures, level, None] for of in (self._starts, self._heights, self._widths))
            # The margin beyond a picture's own border is its reflection, as in serving.
            rows = reflect((tops[:, None] << level) + reach, height)
            columns = reflect((lefts[:, None] << level) + reach, width)
            down, right = turned(start + rows * width, columns, turns[:, None], flips[:, None])
            patches = self._pixels[down[:, None, :, None] + right[:, None, None, :]]
            batch.append(patches.float().mul_(GAIN / 255).add_(BLACK))
        return batch

    def validation(self) -> Iterator[tuple[Gray, list[Gray]]]:
        """Held-out pictures as (low resolution, [x2, x4, ...]), 8-bit gray; of JPEGs, those of the middle quality."""
        for path in self.held_out:
            low, *finer = pyramid(read_gray(path), self.config.scale)
            yield low if self.config.jpeg is None else through_jpeg(low, sum(self.config.jpeg) // 2), finer


def turned(rows: Tensor, columns: Tensor, turns: Tensor, flips: Tensor) -> tuple[Tensor, Tensor]:
    """What to add up for each row and column of N patches that are mirrored left to right, then turned a quarter each.

    `rows` and `columns` (N, S): pixel (i, j) of a patch that is not turned is at rows[i] + columns[j]. `turns` (0 to 3)
    and `flips` (0 or 1) are (N, 1).
    """
    upside_down, mirrored, lying = turns >= 2, (turns % 3 > 0) != (flips > 0), turns % 2 == 1
    down, right = torch.where(lying, columns, rows), torch.where(lying, rows, columns)
    return torch.where(upside_down, down.flip(1), down), torch.where(mirrored, right.flip(1), right)


def reflect(indices: Tensor, length: Tensor) -> Tensor:
    """Indices beyond 0..length-1 mirrored back about the first and the last sample, which are not repeated."""
    period = (2 * (length - 1)).clamp(min=1)
    folded = indices.abs() % period
    return torch.where(folded < length, folded, period - folded)
