"""Training patches, sampled where there is something to learn, on the device that trains."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.entry import UsageError
from model.pictures import PictureError, read
from model.quality import LEAST_SIDE
from model.training.data import (
    BLACK,
    CELL,
    GAIN,
    DataConfig,
    Gray,
    gray_of,
    held_out_of,
    known,
    open_pyramids,
    pyramid,
)

DIGITS = 16  # of a digest, which are enough to identify a picture


class PatchSource:
    """Patches of one set of pictures; batch `step` of rank `rank` is always the same, so a resumed run continues.

    On a CPU the pixels stay in the mapped file; another device holds a copy of them all, and cuts the patches itself.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        config: DataConfig,
        cache: Path,
        device: str = "cpu",
        *,
        keep_out: Collection[str] = (),
        skip_bad: bool = False,
    ) -> None:
        """`keep_out`: beginnings of digests of further pictures to hold out, such as those of an earlier run.

        Raises PictureError for a file that cannot be read, unless `skip_bad` leaves it out; FileNotFoundError; and
        UsageError where no picture is as large as a patch.
        """
        self.config = config
        self._skip_bad = skip_bad
        found, bad = known(folders, skip_bad)
        kept = held_out_of(found, config.hold_out) | {name for name in found if name[:DIGITS] in keep_out}
        self.held_out = {name: path for name, path in found.items() if name in kept}
        self.used = {name: path for name, path in found.items() if name not in kept}
        if not self.used:
            raise UsageError(
                f"every picture below {', '.join(map(str, folders))} is held out; give more, or --hold-out 0"
            )
        self.pyramids = open_pyramids(self.used, config, cache, skip_bad)
        self.bad = bad + self.pyramids.bad
        """What was wrong with files that were left out."""
        self.about: dict[str, Any] = {
            "folders": [str(folder) for folder in folders],
            "count": len(self.used) - len(self.pyramids.bad),
            "skipped": len(self.bad),
            "sha256": hashlib.sha256("".join(sorted(self.used)).encode()).hexdigest(),
            "held_out": sorted(name[:DIGITS] for name in self.held_out),
        }
        """A run's record of its pictures; "sha256" is of the sorted digests of those that it learns from."""
        there = [self.pyramids.pixels, self.pyramids.starts, self.pyramids.heights, self.pyramids.widths]
        self._pixels, self._starts, self._heights, self._widths = (torch.from_numpy(each).to(device) for each in there)
        kinds = self.pyramids.kinds
        self._samplers = [
            Sampler(np.flatnonzero(kinds == kind), self.pyramids.maps) for kind in range(len(config.strengths) or 1)
        ]

    def batch(self, step: int, size: int, rank: int = 0) -> list[Tensor]:
        """[low resolution with its margin (N, 1, c + 2m, c + 2m), x2 (N, 1, 2c, 2c), ...]: luma in 0..1, float32."""
        return self.cut(self.choose(step, size, rank).to(self._pixels.device))

    def kind(self, step: int) -> int:
        """Which of the strengths the batch of a step is for, the same in every process; 0 where there are none."""
        return step % len(self._samplers)

    def choose(self, step: int, size: int, rank: int = 0) -> Tensor:
        """What the batch is made of, on the CPU: (5, N) of pyramid, top, left, quarter turns, and whether mirrored."""
        rng = np.random.default_rng((self.config.seed, step, rank))
        pictures, rows, columns = self._samplers[self.kind(step)](rng.random(size))
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
            # The margin beyond a picture's own border is its mirror image, as in serving.
            rows = mirrored((tops[:, None] << level) + reach, height)
            columns = mirrored((lefts[:, None] << level) + reach, width)
            down, right = turned(start + rows * width, columns, turns[:, None], flips[:, None])
            patches = self._pixels[down[:, None, :, None] + right[:, None, None, :]]
            batch.append(patches.float().mul_(GAIN / 255).add_(BLACK))
        return batch

    def check(self, paths: Iterable[Path]) -> None:
        """Raises PictureError for a picture that cannot be read, unless bad ones are skipped."""
        for path in () if self._skip_bad else paths:
            read(path)

    def validation(self, kind: int = 0) -> Iterator[tuple[Gray, list[Gray]]]:
        """Held-out pictures as (low resolution, [x2, x4, ...]), 8-bit gray, damaged as for a kind; always the same.

        Those too small to be scored are left out, and flat ones: every network keeps them, so their PSNR of 150 dB is
        nothing but rounding noise, and would decide which weights are the best.
        """
        return self._pairs(self.held_out, kind)

    def pairs_of(self, folders: Sequence[Path], kind: int = 0) -> Iterator[tuple[Gray, list[Gray]]]:
        """As `validation`, of other pictures."""
        return self._pairs(known(folders, self._skip_bad)[0], kind)

    def _pairs(self, pictures: Mapping[str, Path], kind: int) -> Iterator[tuple[Gray, list[Gray]]]:
        strength = self.config.strengths[kind] if self.config.strengths else None
        for name, path in pictures.items():
            try:
                gray = gray_of(read(path))
            except PictureError:
                if self._skip_bad:
                    continue
                raise
            if min(gray.shape) < self.config.scale * LEAST_SIDE or gray.min() == gray.max():
                continue
            low, *finer = pyramid(gray, self.config.scale)
            if not self.config.damage.nothing:
                rng = np.random.default_rng((self.config.seed, int(name[:DIGITS], 16), kind))
                low = self.config.damage.apply(finer[-1], self.config.scale, rng, strength)
            yield low, finer


class Sampler:
    """Draws cells of focus maps with the probabilities that they give."""

    def __init__(self, pyramids: NDArray[np.int64], maps: Sequence[NDArray[np.float32]]) -> None:
        """`pyramids`: which of `maps` to draw from."""
        self._pyramids = pyramids
        chosen = [maps[index] for index in pyramids]
        self._columns = np.array([each.shape[1] for each in chosen])
        self._firsts = np.cumsum([0] + [each.size for each in chosen])
        self._cumulative = np.cumsum(np.concatenate([each.ravel() for each in chosen]), dtype=np.float64)

    def __call__(self, uniform: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """For numbers (N,) in 0..1: pyramid, row and column of the cell, (N,) each."""
        cells = np.searchsorted(self._cumulative, uniform * self._cumulative[-1], side="right")
        cells = np.minimum(cells, len(self._cumulative) - 1)
        places = np.searchsorted(self._firsts, cells, side="right") - 1
        rows, columns = np.divmod(cells - self._firsts[places], self._columns[places])
        return self._pyramids[places], rows, columns


def turned(rows: Tensor, columns: Tensor, turns: Tensor, flips: Tensor) -> tuple[Tensor, Tensor]:
    """Offsets of the rows and columns of N patches that are mirrored left to right, then turned by quarters.

    `rows` and `columns` (N, S): pixel (i, j) of a patch that is not turned is at rows[i] + columns[j]. `turns` (0 to 3)
    and `flips` (0 or 1) are (N, 1).
    """
    upside_down, mirrored, lying = turns >= 2, (turns % 3 > 0) != (flips > 0), turns % 2 == 1
    down, right = torch.where(lying, columns, rows), torch.where(lying, rows, columns)
    return torch.where(upside_down, down.flip(1), down), torch.where(mirrored, right.flip(1), right)


def mirrored(indices: Tensor, length: Tensor) -> Tensor:
    """Indices beyond 0..length-1 mirrored back about the edge of the first and the last sample, which are repeated."""
    folded = indices % (2 * length)
    return torch.where(folded < length, folded, 2 * length - 1 - folded)
