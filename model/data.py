"""Training patches: pyramids of luma in one memory-mapped uint8 file, sampled where there is something to learn."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from model.color import YCBCR_FROM_RGB, YCBCR_OFFSET, luma
from model.resample import degrade, resize, round_to_uint8

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
CELL = 8  # low-resolution pixels per side of a cell of the sampling map
GAIN, BLACK = float(YCBCR_FROM_RGB[0].sum()), float(YCBCR_OFFSET[0])

Gray = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class DataConfig:
    """How patches are made.

    scale: of the network. core: low-resolution pixels per side that the loss sees. margin: of the network. scales: the
    range that pictures are shrunk by at random before the pyramid is built, `variants` draws a picture. turns: also
    quarter turns, beside flips. focus: patches are drawn with probability proportional to gradient energy to this
    power (0: uniformly). hold_out: every n-th picture is kept for validation.
    """

    scale: int = 4
    core: int = 48
    margin: int = 9
    scales: tuple[float, float] = (1.0, 1.0)
    variants: int = 1
    flips: bool = True
    turns: bool = True
    focus: float = 0.5
    hold_out: int = 100
    seed: int = 0


def find_pictures(folders: Sequence[Path]) -> list[Path]:
    """Every picture below `folders`, sorted, so that the order is the same everywhere."""
    found = [path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES]
    if not found:
        raise FileNotFoundError(f"no pictures below {', '.join(map(str, folders))}; give folders that hold PNG or JPEG")
    return sorted(found, key=str)


def read_gray(path: Path) -> Gray:
    """A picture's luma as 8-bit gray (H, W), full range."""
    with Image.open(path) as image:
        if image.mode in ("L", "1", "I", "I;16"):
            return np.asarray(image.convert("L"))
        y = luma(np.asarray(image.convert("RGB")))
    return round_to_uint8((y - BLACK) / GAIN * 255).astype(np.uint8)


def pyramid(gray: Gray, scale: int) -> list[Gray]:
    """[x1, x2, ... x scale]: the picture cropped to a multiple of `scale` and its degradations, smallest first."""
    height, width = (side // scale * scale for side in gray.shape)
    cropped = gray[:height, :width]
    factors = [scale >> level for level in range(scale.bit_length() - 1)]
    return [degrade(cropped, factor) for factor in factors] + [cropped]


def _variants(path: Path, config: DataConfig, index: int) -> list[list[Gray]]:
    gray = read_gray(path)
    rng = np.random.default_rng((config.seed, index))
    made = []
    for _ in range(config.variants):
        factor = rng.uniform(*config.scales)
        height, width = (round(side * factor) for side in gray.shape)
        shrunk = round_to_uint8(resize(gray.astype(np.float64), height, width)).astype(np.uint8)
        levels = pyramid(shrunk, config.scale)
        if min(levels[0].shape) >= config.core:
            made.append(levels)
    return made


def focus_map(levels: Sequence[Gray], core: int, focus: float) -> NDArray[np.float32]:
    """Relative probability of each cell of top-left corners: mean gradient of the patch there, to the power `focus`."""
    hr = levels[-1].astype(np.int16)
    energy = np.abs(np.diff(hr, axis=0))[:, :-1] + np.abs(np.diff(hr, axis=1))[:-1]
    integral = np.pad(energy.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    factor = hr.shape[0] // levels[0].shape[0]
    span = core * factor - 1
    tops = np.arange(0, levels[0].shape[0] - core + 1, CELL) * factor
    lefts = np.arange(0, levels[0].shape[1] - core + 1, CELL) * factor
    total = (
        integral[np.ix_(tops + span, lefts + span)]
        - integral[np.ix_(tops, lefts + span)]
        - integral[np.ix_(tops + span, lefts)]
        + integral[np.ix_(tops, lefts)]
    )
    return np.asarray((total / span**2 + 0.5) ** focus, dtype=np.float32)


class PatchSource:
    """Patches of one set of pictures; batch `step` of rank `rank` is always the same, so a resumed run continues."""

    def __init__(self, folders: Sequence[Path], config: DataConfig, cache: Path) -> None:
        self.config = config
        paths = find_pictures(folders)
        every = min(config.hold_out, max(len(paths), 2))  # of few pictures the last one is held out
        self.held_out = [path for i, path in enumerate(paths) if i % every == every - 1]
        self.used = [path for i, path in enumerate(paths) if i % every != every - 1]
        self._open(cache)

    def _open(self, cache: Path) -> None:
        """Map the cache of exactly these pictures and settings, building it first when it is not there."""
        parts = [(str(p), p.stat().st_size) for p in self.used]
        key = hashlib.sha256(repr((parts, self.config)).encode()).hexdigest()[:16]
        index_path, pixels_path = cache / f"{key}.json", cache / f"{key}.bin"
        if not index_path.exists():
            cache.mkdir(parents=True, exist_ok=True)
            self._build(index_path, pixels_path)
        index = json.loads(index_path.read_text())
        pixels = np.memmap(pixels_path, dtype=np.uint8, mode="r")
        self.pyramids: list[list[Gray]] = []
        for entry in index:
            self.pyramids.append([pixels[start : start + h * w].reshape(h, w) for start, h, w in entry])
        if not self.pyramids:
            smallest = self.config.core * self.config.scale
            raise ValueError(f"every picture is smaller than a patch of {smallest}x{smallest}; use a smaller core")
        maps = [focus_map(levels, self.config.core, self.config.focus) for levels in self.pyramids]
        self._cells = [m.shape[1] for m in maps]
        self._firsts = np.cumsum([0] + [m.size for m in maps])
        self._cumulative = np.cumsum(np.concatenate([m.ravel() for m in maps]), dtype=np.float64)

    def _build(self, index_path: Path, pixels_path: Path) -> None:
        index, position = [], 0
        with pixels_path.open("wb") as out, ProcessPoolExecutor() as pool:
            count = len(self.used)
            for made in pool.map(_variants, self.used, [self.config] * count, range(count), chunksize=8):
                for levels in made:
                    entry = []
                    for level in levels:
                        out.write(level.tobytes())
                        entry.append((position, *level.shape))
                        position += level.size
                    index.append(entry)
        index_path.write_text(json.dumps(index))

    def batch(self, step: int, size: int, rank: int = 0) -> list[Tensor]:
        """[low resolution with its margin (N, 1, c + 2m, c + 2m), x2 (N, 1, 2c, 2c), ...]: luma in 0..1, float32."""
        rng = np.random.default_rng((self.config.seed, step, rank))
        patches = [self._patch(rng) for _ in range(size)]
        stacked = (np.stack([patch[level] for patch in patches]) for level in range(len(patches[0])))
        return [torch.from_numpy(pixels[:, None]).float().mul_(GAIN / 255).add_(BLACK) for pixels in stacked]

    def _patch(self, rng: np.random.Generator) -> list[Gray]:
        core, margin = self.config.core, self.config.margin
        cell = int(np.searchsorted(self._cumulative, rng.random() * self._cumulative[-1], side="right"))
        cell = min(cell, len(self._cumulative) - 1)
        picture = int(np.searchsorted(self._firsts, cell, side="right")) - 1
        levels = self.pyramids[picture]
        row, column = divmod(cell - int(self._firsts[picture]), self._cells[picture])
        height, width = levels[0].shape
        top = min(row * CELL + int(rng.integers(CELL)), height - core)
        left = min(column * CELL + int(rng.integers(CELL)), width - core)
        # The margin beyond a picture's own border is its reflection, as in serving.
        rows = reflect(np.arange(top - margin, top + core + margin), height)
        columns = reflect(np.arange(left - margin, left + core + margin), width)
        patch = [levels[0][np.ix_(rows, columns)]]
        for level, pixels in enumerate(levels[1:], start=1):
            y, x, side = top << level, left << level, core << level
            patch.append(pixels[y : y + side, x : x + side])
        turns = int(rng.integers(4)) if self.config.turns else 0
        flip = bool(rng.integers(2)) if self.config.flips else False
        return [np.ascontiguousarray(np.rot90(p[:, ::-1] if flip else p, turns)) for p in patch]

    def validation(self) -> Iterator[tuple[Gray, list[Gray]]]:
        """Held-out pictures as (low resolution, [x2, x4, ...]), 8-bit gray."""
        for path in self.held_out:
            levels = pyramid(read_gray(path), self.config.scale)
            yield levels[0], levels[1:]


def reflect(indices: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Indices beyond 0..length-1 mirrored back about the first and the last sample, which are not repeated."""
    period = max(2 * (length - 1), 1)
    folded = np.abs(indices) % period
    return np.where(folded < length, folded, period - folded)
