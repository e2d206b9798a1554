"""Recipes next to each other: `python -m model.training.ablation --hr DIR A=a.safetensors B=b.safetensors`."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from model.checkpoint import load_weights
from model.color import luma
from model.degradations import through_jpeg
from model.entry import Parser, UsageError, at_least, check_output, file_errors, jpeg_quality
from model.evaluate import luma_8bit, pairs, upscale
from model.folded import FoldedLapSRN
from model.pictures import find_pictures
from model.quality import gmsd, psnr, ssim
from model.resample import resize, round_to_uint8

ZOOM = 3
GAP = 14  # pixels above each crop, for its name
METRICS = {"PSNR dB": psnr, "SSIM": ssim, "GMSD": gmsd}

Enlarged = dict[str, NDArray[np.float64]]


def enlarge(networks: Mapping[str, FoldedLapSRN], low: NDArray[np.uint8], height: int, width: int) -> Enlarged:
    """8-bit luma (height, width) by bicubic and by every network's finest level."""
    pictures = {"bicubic": round_to_uint8(resize(luma_8bit(low), height, width))}
    for name, network in networks.items():
        pictures[name] = round_to_uint8(upscale(network, luma(low))[-1].astype(np.float64) * 255)
    return pictures


def table(scores: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """Markdown: for each contestant, the means of its pictures' figures, in the order of METRICS."""
    rows = ["| | " + " | ".join(METRICS) + " |", "|---" * (len(METRICS) + 1) + "|"]
    for name, figures in scores.items():
        psnr_mean, *others = np.mean(figures, axis=0)
        rows.append(f"| {name} | {psnr_mean:.3f} | " + " | ".join(f"{value:.4f}" for value in others) + " |")
    return "\n".join(rows)


def sheet(strips: Sequence[Enlarged], path: Path) -> None:
    """One row of named crops for each detail, enlarged without interpolation, as a PNG."""
    side = next(iter(strips[0].values())).shape[0] * ZOOM
    canvas = Image.new("L", (len(strips[0]) * (side + 2) - 2, len(strips) * (side + GAP)), 255)
    draw = ImageDraw.Draw(canvas)
    for row, strip in enumerate(strips):
        for column, (name, crop) in enumerate(strip.items()):
            left, top = column * (side + 2), row * (side + GAP)
            draw.text((left + 2, top + 1), name, fill=0)
            tile = Image.fromarray(np.clip(crop, 0, 255).astype(np.uint8))
            canvas.paste(tile.resize((side, side), Image.Resampling.NEAREST), (left, top + GAP))
    canvas.save(path, optimize=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Scores weights of one scale on a folder, and shows details of its pictures side by side."""
    parser = Parser("model.training.ablation", __doc__)
    parser.add_argument("--hr", type=Path, required=True, help="folder of high-resolution pictures")
    parser.add_argument(
        "--lr", type=Path, help="folder of low-resolution pictures: a.png, ax4.png or a_x4.png for a.png"
    )
    parser.add_argument(
        "--jpeg", type=jpeg_quality, metavar="QUALITY", help="compress the low resolution as JPEG first"
    )
    parser.add_argument(
        "--crop", nargs="*", default=[], metavar="PICTURE:X,Y", help="details to show, top left corners"
    )
    parser.add_argument("--side", type=at_least(1), default=64, help="pixels per side of a detail")
    parser.add_argument("--to", type=Path, help="PNG of the details")
    parser.add_argument("weights", nargs="+", metavar="NAME=FILE")
    options = parser.parse_args(arguments)
    with file_errors(parser.prog):
        check_output(options.to, ".png")
        if bool(options.crop) != (options.to is not None):
            raise UsageError("--crop says which details to show, and --to where; give both")
        compare(options)


def compare(options: argparse.Namespace) -> None:
    """Prints the table, and writes the details if there is a file for them."""
    networks, scale = open_networks(options.weights)
    corners = corners_of(options.crop, options.hr)
    scores: dict[str, list[list[float]]] = {}
    strips = []
    for name, truth, low in pairs(options.hr, options.lr, scale):
        target = luma_8bit(truth)
        low = low if options.jpeg is None else through_jpeg(low, options.jpeg)
        pictures = enlarge(networks, low, *target.shape)
        for recipe, picture in pictures.items():
            scores.setdefault(recipe, []).append([metric(picture, target, scale) for metric in METRICS.values()])
        shown = pictures | {"original": target}
        strips += [cropped(name, shown, corner, options.side) for corner in corners.get(name, ())]
    if options.to is not None:
        sheet(strips, options.to)
    print(table(scores))


def open_networks(given: Sequence[str]) -> tuple[dict[str, FoldedLapSRN], int]:
    """The networks of NAME=FILE by name, and the scale that they share. Raises UsageError and WeightsError."""
    networks: dict[str, FoldedLapSRN] = {}
    scales = set()
    for each in given:
        name, _, file = each.partition("=")
        if not file:
            raise UsageError(f"{each} is not a name and a file; write NAME=FILE")
        network, _ = load_weights(Path(file))
        scales.add(network.config.scale)
        with torch.no_grad():
            networks[name] = network.fold()
    if len(scales) > 1:
        raise UsageError(f"weights of scales {sorted(scales)} cannot be compared")
    return networks, scales.pop()


def corners_of(details: Sequence[str], hr: Path) -> dict[str, list[tuple[int, int]]]:
    """Top left corners (x, y) by picture of PICTURE:X,Y. Raises UsageError, also for a picture that is not in `hr`."""
    corners: dict[str, list[tuple[int, int]]] = {}
    for detail in details:
        picture, _, corner = detail.partition(":")
        try:
            x, y = map(int, corner.split(","))
        except ValueError:
            raise UsageError(f"--crop {detail} is not a detail; write PICTURE:X,Y") from None
        corners.setdefault(picture, []).append((x, y))
    if unknown := corners.keys() - {path.stem for path in find_pictures([hr])}:
        raise UsageError(f"--crop {min(unknown)}: there is no such picture in {hr}")
    return corners


def cropped(name: str, pictures: Enlarged, corner: tuple[int, int], side: int) -> Enlarged:
    """`side` x `side` pixels of each of these pictures of one size, which `name` is for. Raises UsageError."""
    x, y = corner
    height, width = next(iter(pictures.values())).shape
    if not (0 <= x <= width - side and 0 <= y <= height - side):
        raise UsageError(f"--crop {name}:{x},{y} with --side {side} is not within {width}x{height} pixels")
    return {recipe: picture[y : y + side, x : x + side] for recipe, picture in pictures.items()}


if __name__ == "__main__":
    main()
