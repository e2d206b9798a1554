"""Training data: pictures as pyramids of luma, in one memory-mapped uint8 file."""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from model.color import YCBCR_FROM_RGB, YCBCR_OFFSET, luma
from model.entry import UsageError
from model.files import replacing
from model.pictures import Picture, PictureError, find_pictures, read
from model.resample import degrade, resize, round_to_uint8
from model.training.damage import NO_DAMAGE, Damage
from model.training.processes import end_with_parent

FORM = 4  # version of the cache; with another number, it is built again
CELL = 8  # low-resolution pixels per side of a cell of the sampling map
GAIN, BLACK = float(YCBCR_FROM_RGB[0].sum()), float(YCBCR_OFFSET[0])

Gray = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class DataConfig:
    """How patches are made.

    scale: of the network. core: low-resolution pixels per side that the loss sees. margin: of the network. scales: the
    range that pictures are shrunk by at random before the pyramid is built, `variants` draws a picture, of several the
    first at the upper end. damage: how low resolutions are made; unless it is nothing, there are `damages` of each
    variant, and as many for each of `strengths` where there are any. turns: also quarter turns, beside flips. focus:
    patches are drawn with probability proportional to gradient energy to this power (0: uniformly). hold_out: one
    picture in this many is kept for validation; none if 0.
    """

    scale: int = 4
    core: int = 48
    margin: int = 9
    scales: tuple[float, float] = (1.0, 1.0)
    variants: int = 1
    damage: Damage = NO_DAMAGE
    damages: int = 1
    strengths: tuple[float, ...] = ()
    flips: bool = True
    turns: bool = True
    focus: float = 0.5
    hold_out: int = 100
    seed: int = 0


def gray_of_luma(y: NDArray[np.float32] | NDArray[np.float64]) -> Gray:
    """Luma in 0..1 as 8-bit gray, full range."""
    return round_to_uint8((np.asarray(y, np.float64) - BLACK) / GAIN * 255).astype(np.uint8)


def gray_of(picture: Picture) -> Gray:
    """The luma of a gray or RGB picture as 8-bit gray (H, W), full range."""
    return picture if picture.ndim == 2 else gray_of_luma(luma(picture))


def pyramid(gray: Gray, scale: int) -> list[Gray]:
    """[x1, x2, ... x scale]: a picture (H, W) cropped to multiples of `scale`, and its degradations, smallest first."""
    height, width = (side // scale * scale for side in gray.shape)
    cropped = gray[:height, :width]
    factors = [scale >> level for level in range(scale.bit_length() - 1)]
    return [degrade(cropped, factor) for factor in factors] + [cropped]


def focus_map(levels: Sequence[Gray], core: int, focus: float) -> NDArray[np.float32]:
    """Relative probabilities (rows, columns) of cells of CELL x CELL top left corners, low-resolution pixels, to draw
    a patch from: the mean gradient of the finest level in a patch of `core` there, to the power `focus`.
    """
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

    pixels: all levels, one after the other; those of several low resolutions of one variant share the others. starts,
    heights, widths (P, L): where each is among them, and its sides. kinds (P,): which of the strengths each is for, 0
    where there are none. maps: for each pyramid, its `focus_map`. bad: what was wrong with files that were left out.
    """

    pixels: Gray
    starts: NDArray[np.int64]
    heights: NDArray[np.int64]
    widths: NDArray[np.int64]
    kinds: NDArray[np.int64]
    maps: list[NDArray[np.float32]]
    bad: list[str]


@dataclass(frozen=True, slots=True)
class Variant:
    """One rescaled copy of a picture: finer levels, low resolutions as (kind, picture), and its focus map."""

    lows: list[tuple[int, Gray]]
    finer: list[Gray]
    energy: NDArray[np.float32]


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal: what identifies a picture, wherever it is stored."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def known(folders: Sequence[Path], skip_bad: bool = False) -> tuple[dict[str, Path], list[str]]:
    """Every picture below `folders` by its digest, and what is wrong with those left out.

    Raises FileNotFoundError as `find_pictures`, and PictureError for a file that cannot be opened unless `skip_bad`.
    """
    found, bad = {}, []
    for path in find_pictures(folders):
        try:
            found[digest(path)] = path
        except OSError as error:
            bad.append(f"{path}: not a readable picture ({error.strerror})")
    if not skip_bad:
        refuse(bad)
    return found, bad


def refuse(bad: Sequence[str]) -> None:
    """Raises PictureError for the first of these messages, if there is one."""
    if bad:
        raise PictureError(f"{bad[0]}; repair it or remove it, or give --skip-bad to train without such files")


def open_pyramids(pictures: Mapping[str, Path], config: DataConfig, cache: Path, skip_bad: bool = False) -> Pyramids:
    """The pyramids of these pictures, by digest, and settings; mapped from `cache`, and built there if missing.

    Raises PictureError for a file that cannot be read, unless `skip_bad` leaves it out, and UsageError when no picture
    is as large as a patch, or memory does not suffice.
    """
    key = hashlib.sha256(repr((FORM, sorted(pictures), config)).encode()).hexdigest()[:16]
    index, pixels, maps = (cache / f"{key}{suffix}" for suffix in (".json", ".bin", ".maps.npy"))
    if not index.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f"{key}.lock"):  # another run may be making them right now
            if not index.exists():
                _build(pictures, config, index, pixels, maps)
    content = json.loads(index.read_text())
    entries, bad = content["entries"], content["bad"]
    if not skip_bad:
        refuse(bad)
    if not entries:
        smallest = config.core * config.scale
        raise UsageError(f"every picture is smaller than a patch of {smallest}x{smallest}; use a smaller core")
    table = np.array([levels for _, levels in entries], dtype=np.int64)
    starts, heights, widths = np.moveaxis(table, -1, 0)
    shapes = [_cells(height, width, config.core) for height, width in zip(heights[:, 0], widths[:, 0], strict=True)]
    ends = np.cumsum([rows * columns for rows, columns in shapes])[:-1]
    split = np.split(np.load(maps), ends)
    # Mapped copy-on-write, though it is never written to: torch takes no read-only arrays.
    return Pyramids(
        np.memmap(pixels, dtype=np.uint8, mode="c"),
        starts,
        heights,
        widths,
        np.array([kind for kind, _ in entries], dtype=np.int64),
        [each.reshape(shape) for each, shape in zip(split, shapes, strict=True)],
        bad,
    )


def _cells(height: int, width: int, core: int) -> tuple[int, int]:
    """Rows and columns of a `focus_map` over `height` x `width` low-resolution pixels."""
    return (height - core) // CELL + 1, (width - core) // CELL + 1


def _build(pictures: Mapping[str, Path], config: DataConfig, index: Path, pixels: Path, maps: Path) -> None:
    """Writes the three files of a cache: all pixels, all focus maps, and what is where in them."""
    entries, energies, bad = [], [], []
    with replacing(pixels) as out, ProcessPoolExecutor(initializer=end_with_parent) as pool:

        def write(level: Gray) -> tuple[int, int, int]:
            start = out.tell()
            out.write(level.tobytes())
            return start, *level.shape

        for made in _variants_of_all(pool, pictures, config):
            if isinstance(made, str):
                bad.append(made)
                continue
            for variant in made:
                finer = [write(level) for level in variant.finer]
                for kind, low in variant.lows:
                    entries.append((kind, [write(low), *finer]))
                    energies.append(variant.energy.ravel())
    with replacing(maps) as out:
        np.save(out, np.concatenate(energies) if energies else np.empty(0, np.float32))
    with replacing(index) as out:  # last: if it exists, the others do
        out.write(json.dumps({"entries": entries, "bad": bad}).encode())


def _variants_of_all(
    pool: ProcessPoolExecutor, pictures: Mapping[str, Path], config: DataConfig
) -> Iterator[list[Variant] | str]:
    """As `_variants` of each, sorted by digest. Raises UsageError where a process was killed."""
    names = sorted(pictures)
    try:
        yield from pool.map(_variants, names, map(pictures.__getitem__, names), [config] * len(names), chunksize=8)
    except BrokenProcessPool:
        advice = "most likely for want of memory; free some, or leave out the largest pictures"
        raise UsageError(f"a process that prepared pictures was killed, {advice}") from None


def _variants(name: str, path: Path, config: DataConfig) -> list[Variant] | str:
    """Every variant of a picture that holds a patch, or what is wrong with the file.

    What is random depends on the seed and the picture's digest.
    """
    try:
        gray = gray_of(read(path))
    except PictureError as error:
        return str(error)
    rng = np.random.default_rng((config.seed, int(name[:16], 16)))
    made = []
    for variant in range(config.variants):
        factor = rng.uniform(*config.scales) if variant or config.variants == 1 else config.scales[1]
        height, width = (round(side * factor) for side in gray.shape)
        shrunk = round_to_uint8(resize(gray.astype(np.float64), height, width)).astype(np.uint8)
        levels = pyramid(shrunk, config.scale)
        if min(levels[0].shape) >= config.core:
            lows = [(0, levels[0])] if config.damage.nothing else list(_damaged(levels[-1], config, rng))
            made.append(Variant(lows, levels[1:], focus_map(levels, config.core, config.focus)))
    return made


def _damaged(finest: Gray, config: DataConfig, rng: np.random.Generator) -> Iterator[tuple[int, Gray]]:
    """`damages` low resolutions for each strength, each with the index of its strength."""
    for kind, strength in enumerate(config.strengths or (None,)):
        for _ in range(config.damages):
            yield kind, config.damage.apply(finest, config.scale, rng, strength)


def held_out_of(digests: Collection[str], one_in: int) -> set[str]:
    """Of pictures by digest, those kept for validation: about one in `one_in`, never all, of several at least one.

    This depends on each picture alone: adding others changes nothing, and a copy is held out if its original is.
    """
    if not one_in:
        return set()
    chosen = {each for each in digests if int(each[:16], 16) * one_in < 1 << 64}
    if not chosen and len(digests) > 1:
        return {min(digests)}
    return chosen - {max(digests)} if len(chosen) == len(digests) else chosen
