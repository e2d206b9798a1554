"""What training is fed with: pictures as pyramids of luma, in one memory-mapped uint8 file."""

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.color import YCBCR_FROM_RGB, YCBCR_OFFSET, luma
from model.pictures import through_jpeg
from model.resample import degrade, resize, round_to_uint8

CELL = 8  # low-resolution pixels per side of a cell of the sampling map
GAIN, BLACK = float(YCBCR_FROM_RGB[0].sum()), float(YCBCR_OFFSET[0])

Gray = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class DataConfig:
    """How patches are made.

    scale: of the network. core: low-resolution pixels per side that the loss sees. margin: of the network. scales: the
    range that pictures are shrunk by at random before the pyramid is built, `variants` draws a picture, of several the
    first at the upper end. jpeg: the range of qualities, 1 to 100, that the low resolution is compressed with at
    random; None leaves it as it is. turns: also quarter turns, beside flips. focus: patches are drawn with probability
    proportional to gradient energy to this power (0: uniformly). hold_out: every n-th picture is kept for validation.
    """

    scale: int = 4
    core: int = 48
    margin: int = 9
    scales: tuple[float, float] = (1.0, 1.0)
    variants: int = 1
    jpeg: tuple[int, int] | None = None
    flips: bool = True
    turns: bool = True
    focus: float = 0.5
    hold_out: int = 100
    seed: int = 0


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


@dataclass(frozen=True, slots=True)
class Pyramids:
    """Every pyramid of a set of pictures. P pyramids of L levels, smallest first, in one array of bytes.

    pixels: all levels, one after the other. starts, heights, widths (P, L): where each is among them, and its sides.
    maps: for each pyramid, its `focus_map`.
    """

    pixels: Gray
    starts: NDArray[np.int64]
    heights: NDArray[np.int64]
    widths: NDArray[np.int64]
    maps: list[NDArray[np.float32]]


def open_pyramids(paths: Sequence[Path], config: DataConfig, cache: Path) -> Pyramids:
    """Those of exactly these pictures and settings, mapped from `cache`, made first where it has them not.

    Raises ValueError when no picture is as large as a patch.
    """
    parts = [(str(p), p.stat().st_size) for p in paths]
    key = hashlib.sha256(repr((parts, config)).encode()).hexdigest()[:16]
    index, pixels, maps = (cache / f"{key}{suffix}" for suffix in (".json", ".bin", ".maps.npy"))
    if not index.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _build(paths, config, index, pixels, maps)
    table = np.array(json.loads(index.read_text()), dtype=np.int64)
    if not len(table):
        smallest = config.core * config.scale
        raise ValueError(f"every picture is smaller than a patch of {smallest}x{smallest}; use a smaller core")
    starts, heights, widths = np.moveaxis(table, -1, 0)
    shapes = [_cells(height, width, config.core) for height, width in zip(heights[:, 0], widths[:, 0], strict=True)]
    ends = np.cumsum([rows * columns for rows, columns in shapes])[:-1]
    split = np.split(np.load(maps), ends)
    # Mapped as if it could be written to, which it never is: torch takes no read-only arrays.
    return Pyramids(
        np.memmap(pixels, dtype=np.uint8, mode="c"),
        starts,
        heights,
        widths,
        [each.reshape(shape) for each, shape in zip(split, shapes, strict=True)],
    )


def _cells(height: int, width: int, core: int) -> tuple[int, int]:
    """Rows and columns of a `focus_map` over so many low-resolution pixels."""
    return (height - core) // CELL + 1, (width - core) // CELL + 1


def _build(paths: Sequence[Path], config: DataConfig, index: Path, pixels: Path, maps: Path) -> None:
    entries, energies, position = [], [], 0
    with pixels.open("wb") as out, ProcessPoolExecutor() as pool:
        count = len(paths)
        for made in pool.map(_variants, paths, [config] * count, range(count), chunksize=8):
            for levels, energy in made:
                entry = []
                for level in levels:
                    out.write(level.tobytes())
                    entry.append((position, *level.shape))
                    position += level.size
                entries.append(entry)
                energies.append(energy.ravel())
    np.save(maps, np.concatenate(energies) if energies else np.empty(0, np.float32))
    index.write_text(json.dumps(entries))


def _variants(path: Path, config: DataConfig, index: int) -> list[tuple[list[Gray], NDArray[np.float32]]]:
    """Pyramid and focus map of every variant of a picture that holds a patch."""
    gray = read_gray(path)
    rng = np.random.default_rng((config.seed, index))
    made = []
    for variant in range(config.variants):
        factor = rng.uniform(*config.scales) if variant or config.variants == 1 else config.scales[1]
        height, width = (round(side * factor) for side in gray.shape)
        shrunk = round_to_uint8(resize(gray.astype(np.float64), height, width)).astype(np.uint8)
        levels = pyramid(shrunk, config.scale)
        if config.jpeg is not None:
            levels[0] = through_jpeg(levels[0], int(rng.integers(config.jpeg[0], config.jpeg[1] + 1)))
        if min(levels[0].shape) >= config.core:
            made.append((levels, focus_map(levels, config.core, config.focus)))
    return made
