"""`lapsrn compare`: bicubic, LapSRN and the original side by side, with their scores."""

import asyncio
import io
import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from app.cli import conditions, files
from app.cli.backends import Place, open_backend
from app.cli.batch import PictureError
from app.cli.inputs import PlanError
from app.cli.report import TextReport
from app.cli.sheet import Box, Column, draw
from app.cli.wording import as_flags
from app.errors import StartupError
from app.options import UpscaleOptions
from model.color import luma
from model.quality import psnr, ssim
from model.resample import resize, round_to_uint8

Rgb = NDArray[np.uint8]
"""(height, width, 3)"""


def compare(
    photo: Path,
    hr: Path | None,
    output: Path,
    options: UpscaleOptions,
    details: Sequence[str],
    count: int,
    place: Place,
    typed: Collection[str] = (),
) -> int:
    """Writes the sheet and returns 0. Scale, network and effort are those of `options`.

    `details` are boxes as typed; without any, `count` of them are chosen. `typed` holds the names of the parameters
    that were given on the command line. Raises PlanError for invalid arguments, and StartupError if the network cannot
    be loaded or the sheet cannot be written.
    """
    conditions.check_place(place, typed)
    if details and "crops" in typed:
        raise PlanError("--crops is how many details to choose, and --crop chooses them: give only one of them.")
    _check_output(output, [photo] if hr is None else [photo, hr])
    conditions.check_scale(options)
    scale = options.least_level
    small = _open(photo)
    height, width = small.shape[0] * scale, small.shape[1] * scale
    truth = None if hr is None else _fit(_open(hr), height, width)
    boxes = [_parse(text, height, width) for text in details]
    options = replace(options, frames="first", color="srgb", depth="8")

    def figures(picture: Rgb) -> str:
        return "" if truth is None else _scores(picture, truth, scale)

    enlarged = bicubic(small, height, width)
    columns = [Column("bicubic", enlarged, figures(enlarged))]
    ours = asyncio.run(_upscale(photo, photo.read_bytes(), options, place))
    columns.append(Column("LapSRN", ours, figures(ours)))
    if truth is not None:
        columns.append(Column("truth", truth, "PSNR / SSIM"))
    best = columns[-1].picture
    sheet = io.BytesIO()
    draw(best, boxes or choose(best, count), columns).save(sheet, "PNG", optimize=True)
    try:
        files.write(output, sheet.getvalue())
    except OSError as error:
        raise StartupError(f"{output} cannot be written: {files.reason(error)}") from None
    return 0


def _check_output(output: Path, sources: Sequence[Path]) -> None:
    """Raises PlanError for a sheet that cannot be written, or would replace one of its sources."""
    if output.suffix.lower() != ".png":
        raise PlanError(f"the sheet is a PNG, so -o has to end in .png, not {output}.")
    same = files.sameness(output.parent)
    if same(os.path.realpath(output)) in (same(os.path.realpath(path)) for path in sources):
        raise PlanError(f"-o {output} would replace a picture that the sheet is made of: name another file.")
    if problem := files.unwritable(output, folder=False):
        raise PlanError(f"-o {output} cannot be written: {problem}.")


def bicubic(small: Rgb, height: int, width: int) -> Rgb:
    """The picture enlarged as MATLAB's imresize does it."""
    planes = [resize(small[..., channel].astype(np.float64), height, width) for channel in range(3)]
    return round_to_uint8(np.stack(planes, axis=-1)).astype(np.uint8)


def choose(picture: Rgb, count: int) -> list[Box]:
    """Up to `count` squares with the strongest mean gradient of luma, without overlap, from top to bottom."""
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


async def _upscale(photo: Path, data: bytes, options: UpscaleOptions, place: Place) -> Rgb:
    try:
        async with open_backend(place, options, None, TextReport(1).loading) as backend:
            return _rgb((await backend.upscale(data, None)).body)
    except PictureError as error:
        raise PlanError(f"{photo}: {as_flags(str(error))}") from None


def _open(path: Path) -> Rgb:
    if problem := files.unreadable(path):
        raise PlanError(f"{path}: {problem}")
    try:
        return _rgb(path.read_bytes())
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise PlanError(f"{path}: {reason or 'not a picture that can be read'}") from None


def _rgb(data: bytes) -> Rgb:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))


def _fit(truth: Rgb, height: int, width: int) -> Rgb:
    """The original without the last rows and columns that do not fill a pixel of the small picture."""
    rows, columns = truth.shape[0] - height, truth.shape[1] - width
    if min(rows, columns) < 0 or max(rows * width, columns * height) >= width * height:
        raise PlanError(
            f"--hr has {truth.shape[0]}x{truth.shape[1]} pixels, and the result will have {height}x{width}: "
            "it has to be the same picture at the size of the result."
        )
    return truth[:height, :width]


def _scores(picture: Rgb, truth: Rgb, shave: int) -> str:
    """PSNR and SSIM on luma without `shave` border pixels, as published results are computed."""
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
