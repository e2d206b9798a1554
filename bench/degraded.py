"""Scores pictures as people send them: Set5 and Set14 compressed, shrunk in other ways, or noisy, as served.

    python -m bench.degraded --cards docs/training.md

Each low resolution becomes a file, a JPEG where it is to be one and else a PNG, and is decoded, cleaned up, enlarged by
four and encoded as for POST /upscale, with clean=auto and at fixed strengths: 0 is the network that requests get, and
more is its deep companion, where there is one. Y-PSNR as published, of the whole result; bicubic on the same files. A
picture is `below` where clean=auto scores less than bicubic.
"""

import asyncio
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from app.cli.local import LocalBackend, local_settings
from app.options import MORE_EFFORT, MoreEffort, UpscaleOptions
from bench.paths import DATA
from model.color import linear_from_srgb, srgb_from_linear
from model.degradations import shrink
from model.entry import Parser, file_errors, strength
from model.evaluate import luma_8bit, pairs
from model.model_card import renew_block
from model.quality import psnr
from model.resample import resize, round_to_uint8

SCALE = 4
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
Rgb = NDArray[np.uint8]
Degrade = Callable[[Rgb, Rgb], bytes]
"""From the original and the published low resolution to a file."""


def png(picture: Rgb) -> bytes:
    """The picture as a PNG."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", compress_level=1)
    return file.getvalue()


def jpeg(quality: int) -> Degrade:
    """The published low resolution, compressed by Pillow."""

    def compressed(truth: Rgb, low: Rgb) -> bytes:
        file = io.BytesIO()
        Image.fromarray(low).save(file, "JPEG", quality=quality)
        return file.getvalue()

    return compressed


def area(truth: Rgb, low: Rgb) -> bytes:
    """The mean of every SCALE x SCALE pixels."""
    height, width = (side // SCALE for side in truth.shape[:2])
    means = truth.reshape(height, SCALE, width, SCALE, *truth.shape[2:]).mean(axis=(1, 3))
    return png(round_to_uint8(means).astype(np.uint8))


def shrunk(kernel: str) -> Degrade:
    """By another kernel of model.degradations."""

    def low_resolution(truth: Rgb, low: Rgb) -> bytes:
        return png(shrink(truth, truth.shape[0] // SCALE, truth.shape[1] // SCALE, kernel))

    return low_resolution


def linear_light(truth: Rgb, low: Rgb) -> bytes:
    """Bicubic on linear light: sRGB decoded, shrunk and encoded again."""
    size = truth.shape[0] // SCALE, truth.shape[1] // SCALE
    planes = np.atleast_3d(linear_from_srgb(truth / 255.0))
    shrunk = np.stack([resize(planes[..., i], *size) for i in range(planes.shape[2])], axis=-1).clip(0, 1)
    return png(np.rint(srgb_from_linear(shrunk) * 255).astype(np.uint8).reshape(*size, *truth.shape[2:]))


def noise(sigma: float) -> Degrade:
    """The published low resolution with Gaussian noise in every channel, the same each time."""

    def noisy(truth: Rgb, low: Rgb) -> bytes:
        added = np.random.default_rng(low.shape[0] * 65536 + low.shape[1]).normal(0, sigma, low.shape)
        return png(np.rint(low + added).clip(0, 255).astype(np.uint8))

    return noisy


ROWS: Mapping[str, Degrade] = {
    "as published": lambda truth, low: png(low),
    **{f"JPEG {quality}": jpeg(quality) for quality in (98, 95, 92, 90, 85, 75, 50)},
    "shrunk by area": area,
    "by Lanczos": shrunk("lanczos"),
    "in linear light": linear_light,
    "without antialiasing": shrunk("aliased"),
    "noise of σ = 5": noise(5),
    "noise of σ = 10": noise(10),
}


@dataclass(frozen=True, slots=True)
class Scores:
    """Of one picture, in dB: bicubic, clean=auto, and each of STRENGTHS; and the strength that auto took."""

    bicubic: float
    auto: float
    fixed: tuple[float, ...]
    taken: float


def score(image: NDArray[np.uint8], truth: NDArray[np.float64]) -> float:
    """dB of a result or of bicubic's luma."""
    return psnr(luma_8bit(image), truth, SCALE)


async def measure(
    backend: LocalBackend, file: bytes, truth: Rgb, strengths: Sequence[float], quality: MoreEffort | None = None
) -> Scores:
    """The scores of one file at every strength."""
    target = luma_8bit(truth)
    with Image.open(io.BytesIO(file)) as opened:
        low = luma_8bit(np.asarray(opened.convert("L" if opened.mode == "L" else "RGB")))
    bicubic = psnr(round_to_uint8(resize(low, *target.shape)), target, SCALE)

    async def at(clean: float | str) -> tuple[float, str]:
        options = UpscaleOptions(scale=SCALE, clean=clean, quality=quality)  # type: ignore[arg-type]
        result = await backend.upscale(file, None, options)
        with Image.open(io.BytesIO(result.body)) as made:
            return score(np.asarray(made.convert("L" if made.mode == "L" else "RGB")), target), result.clean

    auto, said = await at("auto")
    taken = float(said.partition(";")[0])
    # At the same strength the result is the same, byte for byte.
    fixed = [auto if strength == taken else (await at(strength))[0] for strength in strengths]
    return Scores(bicubic, auto, tuple(fixed), taken)


async def scores(
    data: Path,
    names: Sequence[str],
    rows: Sequence[str],
    strengths: Sequence[float],
    quality: MoreEffort | None = None,
) -> list[list[str]]:
    """The lines of the table: a column for auto and for each strength, sets separated by slashes."""
    backend = LocalBackend(local_settings(None, "cpu"), UpscaleOptions(), SCALE)
    await backend.start()
    lines = []
    try:
        with tqdm(total=len(rows) * len(names)) as bar:
            for row in rows:
                by_set = []
                for name in names:
                    found = [
                        await measure(backend, ROWS[row](truth, low), truth, strengths, quality)
                        for _, truth, low in pairs(data / name / "HR", data / name / f"LRx{SCALE}", SCALE)
                    ]
                    by_set.append(found)
                    bar.update()
                lines.append(line(row, by_set))
                tqdm.write(" | ".join(lines[-1]))
    finally:
        await backend.close()
    return lines


def line(row: str, by_set: Sequence[Sequence[Scores]]) -> list[str]:
    """One line: bicubic, auto, each strength, the range that auto took, pictures below bicubic."""

    def means(pick: Callable[[Scores], float]) -> str:
        return " / ".join(f"{np.mean([pick(each) for each in found]):.2f}" for found in by_set)

    every = [each for found in by_set for each in found]
    least, most = min(each.taken for each in every), max(each.taken for each in every)
    fixed = [means(lambda each, i=i: each.fixed[i]) for i in range(len(every[0].fixed))]  # type: ignore[misc]
    taken = f"{least:g}" if least == most else f"{least:g} to {most:g}"
    below = f"{sum(each.auto < each.bicubic for each in every)} of {len(every)}"
    return [row, means(lambda each: each.bicubic), f"**{means(lambda each: each.auto)}**", taken, below, *fixed]


def as_table(lines: Sequence[Sequence[str]], strengths: Sequence[float]) -> str:
    """Markdown."""
    head = ["low resolution", "bicubic", "auto", "takes", "below bicubic", *(f"{each:g}" for each in strengths)]
    rows = [head, ["---", *["---:"] * (len(head) - 1)], *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main() -> None:
    """Prints the table."""
    parser = Parser("bench.degraded", __doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the sets, each with HR and LRx4")
    parser.add_argument("--sets", nargs="+", default=["Set5", "Set14"])
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS), metavar="ROW")
    parser.add_argument("--strengths", nargs="*", type=strength, default=list(STRENGTHS))
    parser.add_argument("--quality", choices=MORE_EFFORT, help="as of POST /upscale")
    parser.add_argument(
        "--cards", type=Path, nargs="*", default=[], help="Markdown files whose block `degraded` to renew"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with file_errors(parser.prog):
        lines = asyncio.run(
            scores(arguments.data, arguments.sets, arguments.rows, arguments.strengths, arguments.quality)
        )
        table = as_table(lines, arguments.strengths)
        print(table)
        renew_block(arguments.cards, "degraded", table)


if __name__ == "__main__":
    main()
