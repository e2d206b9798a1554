"""Scores as published, Y-PSNR and SSIM next to bicubic: `python -m model.evaluate --weights W --hr DIR`."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.checkpoint import load_weights
from model.color import YCBCR_OFFSET, luma, rgb_from_ycbcr, ycbcr_from_rgb
from model.degradations import through_jpeg
from model.entry import Parser, UsageError, file_errors, jpeg_quality
from model.files import printable
from model.folded import FoldedLapSRN
from model.network import LapSRN
from model.pictures import Picture, PictureError, find_pictures, low_resolution_of, read
from model.quality import LEAST_SIDE, psnr, ssim
from model.resample import degrade, resize, round_to_uint8

Luma = NDArray[np.float32] | NDArray[np.float64]
FIGURES = ("psnr", "ssim", "bicubic_psnr", "bicubic_ssim")
RGB_FIGURES = ("rgb_psnr", "bicubic_rgb_psnr")
Enlarge = Callable[[FoldedLapSRN, Luma], list[NDArray[np.float32]]]


def pad(plane: NDArray[np.float32], margin: int) -> NDArray[np.float32]:
    """The canonical border: the mirror image, edge included, over and over if it is smaller than the margin."""
    return np.pad(plane, margin, mode="symmetric")


@torch.inference_mode()
def upscale(folded: FoldedLapSRN, plane: Luma) -> list[NDArray[np.float32]]:
    """A luma plane (H, W), 0..1, in one piece and in float32 on the network's device, to [(2H, 2W), (4H, 4W), ...]."""
    padded = torch.from_numpy(pad(plane.astype(np.float32), folded.margin)).to(folded.device)
    return [level[0, 0].cpu().numpy() for level in folded(padded[None, None])]


def upscale_ensemble(folded: FoldedLapSRN, plane: Luma) -> list[NDArray[np.float32]]:
    """As `upscale`, but the mean over four quarter turns, each with and without mirroring.

    The geometric self-ensemble of Lim et al., CVPR Workshops 2017, section 3.4; eight times the work.
    """
    passes = []
    for turns in range(4):
        turned = np.rot90(plane, turns)
        passes.append([np.rot90(level, -turns) for level in upscale(folded, turned)])
        passes.append([np.rot90(level[:, ::-1], -turns) for level in upscale(folded, turned[:, ::-1])])
    return [np.mean(np.stack(levels), axis=0) for levels in zip(*passes, strict=True)]


def upscale_twice(folded: FoldedLapSRN, plane: Luma) -> list[NDArray[np.float32]]:
    """As `upscale`, but the mean over the picture and a quarter turn of it; twice the work."""
    turned = [np.rot90(level, -1) for level in upscale(folded, np.rot90(plane))]
    return [(one + other) / np.float32(2) for one, other in zip(upscale(folded, plane), turned, strict=True)]


def validate(network: LapSRN, pictures: Iterable[tuple[Picture, list[Picture]]]) -> dict[int, float]:
    """Mean PSNR in dB at each scale over (low resolution, [x2, x4, ...]) in 8-bit gray; {} for no pictures."""
    with torch.no_grad():
        folded = network.fold()
    scores: dict[int, list[float]] = {scale: [] for scale in network.config.scales}
    for low, truths in pictures:
        for scale, level, truth in zip(scores, upscale(folded, luma(low)), truths, strict=True):
            scores[scale].append(psnr(level * 255.0, luma(truth) * 255, scale))
    return {scale: float(np.mean(values)) for scale, values in scores.items() if values}


@dataclass(frozen=True, slots=True)
class Score:
    """One picture at one scale: PSNR in dB, SSIM in 0..1."""

    picture: str
    scale: int
    psnr: float
    ssim: float
    bicubic_psnr: float
    bicubic_ssim: float
    rgb_psnr: float | None = None
    """Over all three channels; None unless it was asked for."""
    bicubic_rgb_psnr: float | None = None


def luma_8bit(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Luma on 0..255, rounded, as MATLAB's rgb2ycbcr gives it for 8 bits; gray is taken as R' = G' = B'."""
    return round_to_uint8(luma(picture) * 255)


def rgb_8bit(y: Luma, low: Picture) -> NDArray[np.float64]:
    """R'G'B' on 0..255 (H, W, 3), rounded, of luma (H, W) in 0..1 and the chroma of `low`, enlarged bicubically."""
    height, width = y.shape
    if low.ndim == 2:
        chroma = [np.full((height, width), YCBCR_OFFSET[1])] * 2
    else:
        chroma = [resize(plane, height, width) for plane in np.moveaxis(ycbcr_from_rgb(low / 255), 2, 0)[1:]]
    return round_to_uint8(rgb_from_ycbcr(np.stack([y, *chroma], axis=-1)) * 255)


def rgb_scores(level: Luma, truth: Picture, low: Picture, scale: int) -> tuple[float, float]:
    """PSNR over R'G'B' of a network's luma with bicubic chroma, and of bicubic alone."""
    target = _with_three_channels(truth)
    channels = np.moveaxis(_with_three_channels(low), 2, 0)
    bicubic = np.stack([round_to_uint8(resize(channel, *level.shape)) for channel in channels], axis=-1)
    return psnr(rgb_8bit(level, low), target, scale), psnr(bicubic, target, scale)


def _with_three_channels(picture: Picture) -> NDArray[np.float64]:
    """A gray (H, W) or RGB picture as RGB (H, W, 3), 0..255."""
    return (np.stack([picture] * 3, axis=-1) if picture.ndim == 2 else picture).astype(np.float64)


def score_picture(
    folded: FoldedLapSRN,
    scales: Sequence[int],
    name: str,
    truth: Picture,
    low: Picture,
    enlarge: Enlarge = upscale,
    rgb: bool = False,
) -> list[Score]:
    """Scores of `low`, enlarged to each scale, against `truth` at the finest scale and its degradations at the others.

    `rgb` adds PSNR over R'G'B'.
    """
    finest = scales[-1]
    results = []
    for scale, level in zip(scales, enlarge(folded, luma(low))[: len(scales)], strict=True):
        wanted = truth if scale == finest else degrade(truth, finest // scale)
        target = luma_8bit(wanted)
        ours = round_to_uint8(level.astype(np.float64) * 255)
        bicubic = round_to_uint8(resize(luma_8bit(low), *target.shape))
        figures = [metric(x, target, scale) for x in (ours, bicubic) for metric in (psnr, ssim)]
        in_rgb = rgb_scores(level, wanted, low, scale) if rgb else (None, None)
        results.append(Score(name, scale, figures[0], figures[1], figures[2], figures[3], *in_rgb))
    return results


def evaluate(
    weights: Path,
    hr: Path,
    lr: Path | None = None,
    enlarge: Enlarge = upscale,
    jpeg: int | None = None,
    rgb: bool = False,
    scale: int | None = None,
) -> list[Score]:
    """Scores of every picture in `hr`; its low resolution is in `lr` (a.png or ax4.png), or made by the 8-bit recipe.

    Folders in `hr` may be folders in `lr`, too. `jpeg` is a JPEG quality that the low resolution is compressed with
    first. `rgb` adds PSNR over R'G'B', with chroma enlarged bicubically. `scale` is that of the low resolution, by
    default the network's; finer levels are left out. Raises UsageError for a scale that the network lacks.
    """
    network, info = load_weights(weights)
    with torch.no_grad():
        folded = network.fold()
    scale = scale or info.config.scale
    if scale not in info.scales:
        raise UsageError(f"{weights} has no level for scale {scale}; give one of {', '.join(map(str, info.scales))}")
    scales = [each for each in info.scales if each <= scale]
    scores = []
    for name, truth, low in pairs(hr, lr, scale):
        low = low if jpeg is None else through_jpeg(low, jpeg)
        scores += score_picture(folded, scales, name, truth, low, enlarge, rgb)
    return scores


def pairs(hr: Path, lr: Path | None, scale: int) -> Iterator[tuple[str, Picture, Picture]]:
    """Name, high and low resolution of every picture in `hr`, cropped to multiples of `scale`; `lr`: see evaluate.

    Raises FileNotFoundError, UsageError for a folder that has HR/ beside others, and PictureError for what cannot be
    read, does not go together, or is too small or too flat to score.
    """
    if (hr / "HR").is_dir():
        raise UsageError(f"{hr} holds the high resolution in HR; give {hr / 'HR'}, and --lr for the other")
    for path in find_pictures([hr]):
        truth = read(path)
        height, width = (side // scale * scale for side in truth.shape[:2])
        if min(height, width) < scale * LEAST_SIDE:
            least = f"{scale * LEAST_SIDE}x{scale * LEAST_SIDE}"
            raise PictureError(
                f"{path} has {truth.shape[0]}x{truth.shape[1]} pixels; scores at x{scale} need {least}: move it away"
            )
        truth = truth[:height, :width]
        if not np.ptp(truth, axis=(0, 1)).any():
            raise PictureError(
                f"{path} is flat: every network returns it unchanged, so its PSNR is infinite; move it away"
            )
        low = read(low_resolution_of(path, _low_folder(path, hr, lr), scale)) if lr else degrade(truth, scale)
        if low.shape[:2] != (height // scale, width // scale):
            raise PictureError(
                f"the low resolution of {path} is {low.shape[0]}x{low.shape[1]}, not {height // scale}x{width // scale}"
            )
        yield path.stem, truth, low


def _low_folder(path: Path, hr: Path, lr: Path) -> Path:
    """The folder in `lr` that has the name of the one of `path` in `hr`, or `lr` itself if there is none."""
    same = lr / path.parent.relative_to(hr)
    return same if same.is_dir() else lr


def _figures_of(scores: Sequence[Score]) -> tuple[str, ...]:
    """The names of the figures that these scores have."""
    return FIGURES + RGB_FIGURES if any(score.rgb_psnr is not None for score in scores) else FIGURES


def mean(scores: Sequence[Score], name: str) -> float:
    """Mean of one figure over pictures."""
    return float(np.mean([getattr(score, name) for score in scores]))


def table(scores: Sequence[Score]) -> str:
    """Rows of text for people: every picture, then the mean, per scale."""
    head = f"{'picture':<16}{'scale':>6}{'PSNR dB':>10}{'SSIM':>9}{'bicubic dB':>12}{'SSIM':>9}"
    figures = _figures_of(scores)
    lines = [f"{head}{'RGB dB':>10}{'bicubic dB':>12}" if figures != FIGURES else head]
    for scale in sorted({score.scale for score in scores}):
        chosen = [score for score in scores if score.scale == scale]
        rows = [(printable(s.picture), [getattr(s, name) for name in figures]) for s in chosen]
        rows.append(("mean", [mean(chosen, name) for name in figures]))
        for name, (p, s, bp, bs, *more) in rows:
            line = f"{name:<16}{'x' + str(scale):>6}{p:>10.3f}{s:>9.4f}{bp:>12.3f}{bs:>9.4f}"
            lines.append(line + "".join(f"{value:>{size}.3f}" for value, size in zip(more, (10, 12), strict=False)))
    return "\n".join(lines)


def summary(scores: Sequence[Score]) -> dict[str, dict[str, float]]:
    """Means per scale, as they go into a weights file: {"4": {"psnr": ..., "ssim": ..., "bicubic_psnr": ...}}."""
    found = {}
    for scale in sorted({score.scale for score in scores}):
        chosen = [score for score in scores if score.scale == scale]
        found[str(scale)] = {name: round(mean(chosen, name), 4) for name in _figures_of(chosen)}
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `python -m model.evaluate` and `lapsrn evaluate`."""
    parser = Parser("model.evaluate", __doc__)
    parser.add_argument("--weights", type=Path, required=True, help="safetensors file")
    parser.add_argument("--hr", type=Path, required=True, help="folder of high-resolution pictures")
    parser.add_argument(
        "--lr", type=Path, help="folder of low-resolution pictures: a.png, ax4.png or a_x4.png for a.png"
    )
    parser.add_argument(
        "--scale", type=int, help="of the low resolution (default: the network's); finer levels are left out"
    )
    passes = parser.add_mutually_exclusive_group()
    passes.add_argument("--twice", action="store_true", help="score the mean over the picture and a quarter turn of it")
    passes.add_argument(
        "--ensemble", action="store_true", help="score the mean over four quarter turns and their mirrors; slower"
    )
    parser.add_argument(
        "--jpeg", type=jpeg_quality, metavar="QUALITY", help="compress the low resolution as JPEG first"
    )
    parser.add_argument("--rgb", action="store_true", help="PSNR over R'G'B' too; chroma is enlarged bicubically")
    parser.add_argument("--json", action="store_true", help="means as JSON instead of a table")
    options = parser.parse_args(arguments)
    enlarge = upscale_ensemble if options.ensemble else upscale_twice if options.twice else upscale
    with file_errors(parser.prog):
        scores = evaluate(options.weights, options.hr, options.lr, enlarge, options.jpeg, options.rgb, options.scale)
    print(json.dumps(summary(scores)) if options.json else table(scores))


if __name__ == "__main__":
    main()
