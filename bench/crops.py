"""Details of twelve pictures as people send them: bicubic, clean=0, clean=auto and a strength, at 1:1, on one sheet.

    python -m bench.crops --to docs/images/clean-up.png

Photographs and scans are those that scikit-image and matplotlib come with; text and drawings are made here. Each is a
file that goes through the service's pipeline. It needs the extra [dev].
"""

import asyncio
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from app.cli.local import LocalBackend, local_settings
from app.options import UpscaleOptions
from bench.degraded import jpeg, noise, png
from model.entry import Parser, check_output, file_errors

SCALE = 4
WIDTH, HEIGHT = 52, 40
"""Of a detail, in pixels of the source."""
GAP, LABEL, COLUMNS = 2, 15, 2
PHOTOGRAPHS = Path(skimage.data.__file__).parent
PAPER, INK, FLAT = (250, 248, 240), (20, 20, 25), ((214, 60, 50), (40, 90, 170), (245, 200, 60))
Rgb = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Case:
    """A file, where its detail is (left, top), and the strength that is shown beside clean=auto."""

    name: str
    file: Callable[[], bytes]
    corner: tuple[int, int]
    strength: float


def packaged(name: str, side: int | None = None) -> Rgb:
    """A photograph or scan of scikit-image, shrunk to `side` along its longer one."""
    with Image.open(PHOTOGRAPHS / name) as opened:
        picture = opened.convert("RGB")
    if side is not None:
        picture.thumbnail((side, side), Image.Resampling.BICUBIC)
    return np.asarray(picture)


def text() -> Rgb:
    """Black on white, as on a screen, in three sizes."""
    picture = Image.new("RGB", (240, 120), "white")
    draw = ImageDraw.Draw(picture)
    for top, size in ((4, 11), (22, 13), (44, 18)):
        draw.text((6, top), "Reset all settings? 0123456789", fill=(30, 30, 30), font=ImageFont.load_default(size))
    draw.rounded_rectangle((6, 74, 90, 98), 6, fill=(26, 115, 232))
    draw.text((22, 79), "Continue", fill="white", font=ImageFont.load_default(13))
    return np.asarray(picture)


def strokes(shrink: Image.Resampling) -> Rgb:
    """Ink lines of 12 pixels on paper, shrunk to a quarter."""
    picture = Image.new("RGB", (640, 480), PAPER)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((60, 60, 340, 340), outline=INK, width=12)
    draw.arc((140, 150, 260, 280), 20, 160, fill=INK, width=12)
    for x in (150, 240):
        draw.ellipse((x - 16, 134, x + 16, 166), fill=INK)
    for i in range(6):
        draw.line((380, 60 + 30 * i, 600, 100 + 50 * i), fill=INK, width=12)
    return np.asarray(picture.resize((160, 120), shrink))


def cartoon() -> Rgb:
    """A drawing of flat colours with outlines."""
    picture = Image.new("RGB", (640, 480), (180, 220, 245))
    draw = ImageDraw.Draw(picture)
    for i, color in enumerate(FLAT):
        left = 40 + 190 * i
        draw.rounded_rectangle((left, 120, left + 150, 400), 40, fill=color, outline=INK, width=8)
        draw.ellipse((left + 45, 170, left + 105, 230), fill="white", outline=INK, width=8)
    return np.asarray(picture.resize((160, 120), Image.Resampling.BICUBIC))


def through(picture: Rgb, quality: int) -> bytes:
    """A JPEG of it."""
    return jpeg(quality)(picture, picture)


def saved_again(picture: Rgb, quality: int) -> bytes:
    """A PNG of a JPEG of it, as of a screenshot."""
    with Image.open(io.BytesIO(through(picture, quality))) as opened:
        return png(np.asarray(opened))


CASES = (
    Case("photograph, JPEG 90", lambda: through(packaged("chelsea.png"), 90), (196, 98), 0.5),
    Case("photograph, JPEG 75", lambda: through(packaged("astronaut.png", 256), 75), (88, 28), 0.75),
    Case("photograph, JPEG 50", lambda: through(packaged("coffee.png", 300), 50), (120, 60), 1),
    Case("a camera's own JPEG", lambda: (PHOTOGRAPHS / "rocket.jpg").read_bytes(), (300, 150), 0.5),
    Case(
        "an editor's JPEG",
        lambda: (Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg").read_bytes(),
        (206, 132),
        0.5,
    ),
    Case("photograph, noise of 8 levels", lambda: noise(8)(*2 * [packaged("chelsea.png")]), (196, 98), 1),
    Case("text, JPEG 75", lambda: through(text(), 75), (4, 40), 0.75),
    Case("text, a PNG of JPEG 75", lambda: saved_again(text(), 75), (14, 70), 0.75),
    Case("scan, JPEG 60", lambda: through(packaged("page.png"), 60), (52, 60), 1),
    Case("handwriting, PNG", lambda: png(packaged("text.png")), (150, 60), 0.5),
    Case("lines shrunk by area, PNG", lambda: png(strokes(Image.Resampling.BOX)), (30, 12), 0.5),
    Case("drawing, JPEG 75", lambda: through(cartoon(), 75), (4, 24), 0.75),
)


async def strip(backend: LocalBackend, case: Case) -> list[tuple[str, Image.Image]]:
    """The details of one case, each with its caption."""
    data = case.file()
    left, top = case.corner
    with Image.open(io.BytesIO(data)) as opened:
        source = opened.convert("RGB")
    box = (SCALE * left, SCALE * top, SCALE * (left + WIDTH), SCALE * (top + HEIGHT))
    size = (SCALE * source.width, SCALE * source.height)
    found = [(f"{case.name}: bicubic", source.resize(size, Image.Resampling.BICUBIC).crop(box))]
    for clean in (0.0, "auto", case.strength):
        result = await backend.upscale(data, None, UpscaleOptions(scale=SCALE, clean=clean))
        with Image.open(io.BytesIO(result.body)) as made:
            detail = made.convert("RGB").crop(box)
        found.append((f"auto: {result.clean}" if clean == "auto" else f"clean={clean:g}", detail))
    return found


def sheet(strips: Sequence[Sequence[tuple[str, Image.Image]]]) -> Image.Image:
    """The cases below each other, in COLUMNS columns."""
    width, height = SCALE * WIDTH + GAP, SCALE * HEIGHT + LABEL
    rows = -(-len(strips) // COLUMNS)
    canvas = Image.new("RGB", (COLUMNS * (len(strips[0]) * width + 8), rows * height), "white")
    draw = ImageDraw.Draw(canvas)
    for index, details in enumerate(strips):
        column, row = divmod(index, rows)
        for place, (label, detail) in enumerate(details):
            left, top = column * (len(details) * width + 8) + place * width, row * height
            draw.text((left + 1, top), label, fill="black", font=ImageFont.load_default(11))
            canvas.paste(detail, (left, top + LABEL))
    return canvas


async def strips() -> list[list[tuple[str, Image.Image]]]:
    """The strip of every case."""
    backend = LocalBackend(local_settings(None, "cpu"), UpscaleOptions(), SCALE)
    await backend.start()
    try:
        return [await strip(backend, case) for case in CASES]
    finally:
        await backend.close()


def main() -> None:
    """Writes the sheet."""
    parser = Parser("bench.crops", __doc__)
    parser.add_argument("--to", type=Path, required=True, help="PNG to write")
    arguments = parser.parse_args()
    with file_errors(parser.prog):
        check_output(arguments.to, ".png")
        sheet(asyncio.run(strips())).save(arguments.to, optimize=True)


if __name__ == "__main__":
    main()
