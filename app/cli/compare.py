"""`lapsrn compare`: bicubic, LapSRN and the truth side by side, with their scores."""

import asyncio
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from app.cli import files
from app.cli.batch import PictureError
from app.cli.inputs import PlanError
from app.cli.local import LocalBackend, local_settings
from app.cli.sheet import Box, Column, draw
from app.errors import StartupError
from app.options import LevelChoice, UpscaleOptions
from model.color import luma
from model.quality import psnr, ssim
from model.resample import resize, round_to_uint8

Rgb = NDArray[np.uint8]
"""(height, width, 3)"""


def compare(
    photo: Path,
    hr: Path | None,
    output: Path,
    scale: LevelChoice,
    details: Sequence[str],
    count: int,
    weights: Path | None,
    device: str | None,
) -> int:
    """Writes the sheet; 0. Raises PlanError for pictures or details that do not fit, StartupError without a network."""
    if output.suffix.lower() != ".png":
        raise PlanError(f"the sheet is a PNG, and {output} is not named so.")
    small = _open(photo)
    height, width = small.shape[0] * scale, small.shape[1] * scale
    truth = None if hr is None else _fit(_open(hr), height, width)
    columns = [
        Column("bicubic", bicubic(small, height, width)),
        Column("LapSRN", asyncio.run(_upscale(photo, photo.read_bytes(), scale, weights, device))),
    ]
    if truth is not None:
        columns = [Column(it.name, it.picture, _scores(it.picture, truth, scale)) for it in columns]
        columns.append(Column("truth", truth, "PSNR / SSIM"))
    best = columns[-1].picture
    boxes = [_parse(text, height, width) for text in details] or choose(best, count)
    sheet = io.BytesIO()
    draw(best, boxes, columns).save(sheet, "PNG", optimize=True)
    try:
        files.write(output, sheet.getvalue())
    except OSError as error:
        raise StartupError(f"{output} cannot be written: {error.strerror}") from None
    return 0


def bicubic(small: Rgb, height: int, width: int) -> Rgb:
    """What MATLAB's imresize makes of it."""
    planes = [resize(small[..., channel].astype(np.float64), height, width) for channel in range(3)]
    return round_to_uint8(np.stack(planes, axis=-1)).astype(np.uint8)


def choose(picture: Rgb, count: int) -> list[Box]:
    """The `count` squares with the most going on (mean gradient of luma), which do not overlap, from top to bottom."""
    plane = luma(picture)
    size = max(1, min(96, *(side // 3 for side in plane.shape)))
    busy = np.zeros_like(plane)
    busy[1:] += np.abs(np.diff(plane, axis=0))
    busy[:, 1:] += np.abs(np.diff(plane, axis=1))
    sums = np.pad(busy, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    energy = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    boxes = []
    for _ in range(count):
        top, left = (int(index) for index in np.unravel_index(np.argmax(energy), energy.shape))
        if energy[top, left] < 0:
            break
        boxes.append(Box(top, left, size))
        energy[max(0, top - size + 1) : top + size, max(0, left - size + 1) : left + size] = -1.0
    return sorted(boxes, key=lambda box: (box.top, box.left))


async def _upscale(photo: Path, data: bytes, scale: LevelChoice, weights: Path | None, device: str | None) -> Rgb:
    options = UpscaleOptions(scale=scale, frames="first", color="srgb", depth="8")
    backend = LocalBackend(local_settings(weights, device), options, scale)
    await backend.start()
    try:
        return _rgb(await backend.upscale(data, None))
    except PictureError as error:
        raise PlanError(f"{photo}: {error}") from None
    finally:
        await backend.close()


def _open(path: Path) -> Rgb:
    try:
        return _rgb(path.read_bytes())
    except OSError as error:
        raise PlanError(f"{path}: {error.strerror or 'not a picture that can be read'}") from None


def _rgb(data: bytes) -> Rgb:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))


def _fit(truth: Rgb, height: int, width: int) -> Rgb:
    """Without the last rows and columns that did not make a whole pixel of the small picture."""
    rows, columns = truth.shape[0] - height, truth.shape[1] - width
    if min(rows, columns) < 0 or max(rows * width, columns * height) >= width * height:
        raise PlanError(
            f"--hr has {truth.shape[0]}x{truth.shape[1]} pixels, and the result will have {height}x{width}: "
            "the truth is the same picture at the size of the result."
        )
    return truth[:height, :width]


def _scores(picture: Rgb, truth: Rgb, shave: int) -> str:
    """On luma, borders shaved, as published."""
    ours, wanted = (round_to_uint8(luma(it) * 255) for it in (picture, truth))
    try:
        return f"{psnr(ours, wanted, shave):.2f} dB / {ssim(ours, wanted, shave):.4f}"
    except ValueError as error:
        raise PlanError(str(error)) from None


def _parse(text: str, height: int, width: int) -> Box:
    try:
        top, left, size = (int(part) for part in text.split(","))
    except ValueError:
        raise PlanError(f"--crop {text}: give TOP,LEFT,SIZE, such as 200,340,96.") from None
    if min(top, left) < 0 or size < 1 or top + size > height or left + size > width:
        raise PlanError(f"--crop {text} is not inside the result of {height}x{width} pixels (height x width).")
    return Box(top, left, size)
