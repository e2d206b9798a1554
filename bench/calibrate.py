"""Measures which strength of clean-up suits what a picture has been through, and writes it into the weights.

    python -m bench.calibrate weights/lapsrn_x4_jpeg.safetensors --base weights/lapsrn_x4.safetensors \\
        --waypoints weights/lapsrn_x4_shrunk.safetensors weights/lapsrn_x4_lanczos.safetensors --cards docs/training.md

Pictures are shrunk by the base's scale, compressed with Pillow at several qualities or made noisy, or shrunk in other
ways, and enlarged at every strength as the service would: at strength 0 by the network whose deep companion the base
is, if it is one. For each, the strength with the best mean PSNR of luma is kept.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from app.build import build_formulas, build_limits
from app.codec import Codec, Finding
from app.codec.merge import merge
from app.options import UpscaleOptions
from app.service.clean_up import COMPRESSION, STEPS, suitable
from app.settings import Settings
from bench.paths import CALIBRATION
from model.checkpoint import load_tensors, save_tensors
from model.degradations import noisy, shrink
from model.entry import Parser, file_errors
from model.evaluate import luma_8bit, pad
from model.model_card import renew_block
from model.pictures import find_pictures, read
from model.quality import psnr
from model.resample import degrade
from model.runtime import Runtime, Weights
from model.weights import KINDS

SIDE = 192
STRENGTHS = tuple(step / STEPS for step in range(STEPS + 1))
ALIKE = 0.04  # dB
NOISE_QUALITY = 80
"""Of JPEGs of noisy pictures: in the middle of what costs much beside noise."""
AMOUNTS: Mapping[str, Sequence[int]] = {
    "jpeg": (10, 30, 50, 65, 75, 80, 85, 90, 92, 94, 95, 96, 98, 100),
    "webp": (5, 30, 50, 70, 80, 90, 95, 100),
    "avif": (10, 30, 50, 65, 80, 90, 98),
    "noise": (2, 3, 5, 7, 10, 15, 25),
    "jpeg_noise": (2, 3, 5, 7, 10, 15, 25),
    "area": (0,),
    "aliased": (0,),
}
"""Qualities that Pillow is asked for, and standard deviations of noise; 0: ways of shrinking."""
NAMES = {
    "jpeg": "JPEG",
    "webp": "WebP",
    "avif": "AVIF",
    "noise": "noise",
    "jpeg_noise": f"noise, then JPEG {NOISE_QUALITY}",
    "area": "shrunk by area",
    "aliased": "shrunk without antialiasing",
}
NOISE = ("noise", "jpeg_noise")
SHRINKING = {"area": "box", "aliased": "aliased"}
"""Kinds of findings that are ways of shrinking, and their kernels."""
UNCOMPRESSED = ("noise", *SHRINKING)
Rgb = NDArray[np.uint8]
Point = tuple[int, float]


@dataclass(frozen=True, slots=True)
class Measured:
    """One kind and amount: the quality that files say, or what AMOUNTS do, and the mean dB at every strength."""

    kind: str
    amount: float
    scores: tuple[float, ...]

    @property
    def best(self) -> float:
        """The best strength; for noise, whose estimate errs, the least of those within ALIKE of it."""
        least = max(self.scores) - (ALIKE if self.kind in NOISE else 0.0)
        return next(at for at, score in zip(STRENGTHS, self.scores, strict=True) if score >= least)

    def at(self, strength: float) -> float:
        """Mean dB at one of STRENGTHS."""
        return self.scores[STRENGTHS.index(strength)]


def degraded(picture: Rgb, kind: str, amount: int, scale: int) -> bytes:
    """The picture shrunk by `scale`, as a file."""
    height, width = (side // scale for side in picture.shape[:2])
    if kind in SHRINKING:
        return saved(shrink(picture, height, width, SHRINKING[kind]), "PNG")
    low = degrade(picture, scale)
    if kind in NOISE:
        gray = noisy(np.full((height, width), 128, np.uint8), amount, np.random.default_rng(int(low.sum())))
        grainy = np.clip(low + (gray - 128.0)[..., None], 0, 255).astype(np.uint8)  # so much in luma
        return saved(grainy, "PNG") if kind == "noise" else saved(grainy, "JPEG", quality=NOISE_QUALITY)
    return saved(low, kind.upper(), quality=amount, **({"speed": 8} if kind == "avif" else {}))


def saved(picture: Rgb, form: str, **options: Any) -> bytes:
    """The picture as Pillow writes it, as a file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, form, **options)
    return file.getvalue()


def middles(folder: Path) -> Iterator[Rgb]:
    """The middle of every picture as RGB, gray ones too, at most SIDE pixels high and wide."""
    for path in find_pictures([folder]):
        picture = read(path)
        height, width = (min(SIDE, length // 8 * 8) for length in picture.shape[:2])
        top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
        middle = picture[top : top + height, left : left + width]
        yield np.stack([middle] * 3, axis=-1) if middle.ndim == 2 else middle


def score(
    runtime: Runtime, plain: Runtime, codec: Codec, file: bytes, truth: Rgb, scale: int, kind: str
) -> tuple[float | None, list[float]]:
    """The quality that the file says, and dB at every strength; `plain` computes strength 0."""
    decoded = codec.decode(file, UpscaleOptions(scale=scale))
    (picture,) = decoded.frames
    found = []
    for strength in STRENGTHS:
        network = runtime if strength else plain
        tiles = pad(picture.luma, network.info.window_margin)[None]
        luma = network.run(tiles, scale, clean=strength, compressed=kind not in UNCOMPRESSED)[scale][0]
        result = merge(picture, [luma], scale, 8, build_formulas(), consistent=True, cleaned=strength > 0)
        found.append(psnr(luma_8bit(result.astype(np.uint8)), luma_8bit(truth), scale))
    said = next((each.amount for each in decoded.findings if each.kind == kind and kind in COMPRESSION), None)
    return said, found


def measure(runtime: Runtime, plain: Runtime, pictures: Sequence[Rgb], scale: int) -> list[Measured]:
    """Every kind and amount, over pictures whose sides `scale` divides; `plain` computes strength 0."""
    codec = Codec(build_formulas(), build_limits(Settings()), threads=1)
    found = []
    for kind, amount in tqdm([(kind, amount) for kind, amounts in AMOUNTS.items() for amount in amounts]):
        files = [degraded(picture, kind, amount, scale) for picture in pictures]
        pairs = zip(files, pictures, strict=True)
        each = [score(runtime, plain, codec, file, truth, scale, kind) for file, truth in pairs]
        said = [amount if one is None else one for one, _ in each]
        found.append(Measured(kind, float(np.mean(said)), tuple(np.mean([scores for _, scores in each], axis=0))))
    return found


def points(measured: Sequence[Measured]) -> dict[str, list[Point]]:
    """The best strengths by kind, never more for a better picture; of equal ones in a row the first and last."""
    table: dict[str, list[Point]] = {}
    for kind in KINDS:
        rows = sorted((round(each.amount), each.best) for each in measured if each.kind == kind)
        monotonous = (np.minimum if kind in COMPRESSION else np.maximum).accumulate([strength for _, strength in rows])
        kept = [(amount, float(strength)) for (amount, _), strength in zip(rows, monotonous, strict=True)]
        inner = zip(kept, kept[1:], kept[2:], strict=False)
        table[kind] = [
            kept[0],
            *(here for before, here, after in inner if not before[1] == here[1] == after[1]),
            *kept[1:][-1:],
        ]
    return table


def as_table(measured: Sequence[Measured], strengths: Mapping[str, Sequence[Point]]) -> str:
    """Markdown: for each kind and amount the strength taken, and dB without and with it."""
    lines = [
        "| been through | quality or σ | strength | PSNR at 0 | at the strength | gain |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for each in measured:
        taken = suitable(strengths, Finding(each.kind, round(each.amount)))  # type: ignore[arg-type]
        plain, cleaned = each.at(0.0), each.at(taken)
        amount, gain = f"{each.amount:.0f}" if each.amount else "", cleaned - plain
        lines.append(f"| {NAMES[each.kind]} | {amount} | {taken:g} | {plain:.2f} | {cleaned:.2f} | {gain:+.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Measures, prints the table, and writes the points into the weights."""
    parser = Parser("bench.calibrate", __doc__)
    parser.add_argument("weights", type=Path, help="the network at full strength")
    parser.add_argument("--base", type=Path, required=True, help="the network that it began as, of the same form")
    parser.add_argument(
        "--plain", type=Path, help="the network that the service computes strength 0 with; without it, the base"
    )
    parser.add_argument(
        "--waypoints", type=Path, nargs="*", default=[], help="networks between the two, of the same form"
    )
    parser.add_argument(
        "--data", type=Path, default=CALIBRATION, help="pictures without losses, neither trained on nor scored"
    )
    parser.add_argument(
        "--cards", type=Path, nargs="*", default=[], help="Markdown files whose block `clean NAME` to renew"
    )
    parser.add_argument("--dry", action="store_true", help="leave the weights as they are")
    arguments = parser.parse_args()
    with file_errors(parser.prog):
        base, end, *between = map(Weights.open, (arguments.base, arguments.weights, *arguments.waypoints))
        for each in (end, *between):
            if base.info.config != each.info.config:
                parser.error(f"{each.info.name} is of another form than {base.info.name}")
        plain = base if arguments.plain is None else Weights.open(arguments.plain)
        if plain.info.name not in (base.info.name, base.info.deep_of) or plain.info.scales != base.info.scales:
            parser.error(f"{base.info.name} is no deep companion of {plain.info.name}")
        base.clean_with(end, between)
        torch.set_num_threads(1)
        pictures = list(middles(arguments.data))
        runtime, plain_runtime = (each.runtime("cpu", "float32") for each in (base, plain))
        measured = measure(runtime, plain_runtime, pictures, base.info.scales[-1])
        strengths = points(measured)
        table = as_table(measured, strengths)
        print(table)
        renew_block(arguments.cards, f"clean {end.info.name}", table)
        if not arguments.dry:
            tensors, about = load_tensors(arguments.weights)
            about["clean"] = {"base": base.info.name, "strengths": strengths}
            save_tensors(arguments.weights, tensors, about)


if __name__ == "__main__":
    main()
