"""Draws the comparison sheet: the picture with its details marked, and each detail enlarged, one column per method."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

GAP = 14
TILE = 264
"""Approximate side of an enlarged detail in pixels: details are enlarged by whole numbers."""
CAPTION = 200
"""Minimum width of a column in pixels, so that its scores fit."""
FRAME = 4
TEXT = 17
INK, PAPER = (20, 20, 20), (255, 255, 255)
COLOURS = ((213, 94, 0), (0, 114, 178), (0, 158, 115), (204, 121, 167))
"""Colours of the frames, chosen to be distinguishable with any colour vision (Okabe and Ito)."""


@dataclass(frozen=True, slots=True)
class Box:
    """A square detail, in pixels."""

    top: int
    left: int
    size: int


@dataclass(frozen=True, slots=True)
class Column:
    """One method: its name, its result (height, width, 3), and its scores as text."""

    name: str
    picture: NDArray[np.uint8]
    figures: str = ""


def draw(overview: NDArray[np.uint8], boxes: Sequence[Box], columns: Sequence[Column]) -> Image.Image:
    """The sheet: `overview` (height, width, 3) on the left, one row for each box and one column for each method."""
    zoom = max(1, round(TILE / boxes[0].size))
    edges = [box.size * max(1, round(boxes[0].size * zoom / box.size)) for box in boxes]
    column_width = max([CAPTION, *edges])
    body = sum(edges) + GAP * (len(edges) - 1)
    caption = TEXT * (3 if any(column.figures for column in columns) else 2)
    small, ratio = _shrink(overview, body, 2 * body)
    sheet = Image.new(
        "RGB", (GAP + small.width + (GAP + column_width) * len(columns) + GAP, GAP + body + caption + GAP), PAPER
    )
    pen = ImageDraw.Draw(sheet)
    sheet.paste(small, (GAP, GAP))
    for box, colour in zip(boxes, _colours(boxes), strict=True):
        left, top = GAP + box.left * ratio, GAP + box.top * ratio
        edge = box.size * ratio
        pen.rectangle((left, top, left + edge, top + edge), outline=colour, width=FRAME)
    _write(pen, GAP + small.width / 2, GAP + small.height, [f"{overview.shape[1]} x {overview.shape[0]} pixels"])
    for index, column in enumerate(columns):
        left = GAP + small.width + GAP + index * (GAP + column_width)
        top = GAP
        for box, edge, colour in zip(boxes, edges, _colours(boxes), strict=True):
            detail = column.picture[box.top : box.top + box.size, box.left : box.left + box.size]
            tile = Image.fromarray(detail).resize((edge, edge), Image.Resampling.NEAREST)
            sheet.paste(tile, (left, top))
            pen.rectangle((left, top, left + edge - 1, top + edge - 1), outline=colour, width=FRAME)
            top += edge + GAP
        _write(pen, left + column_width / 2, GAP + body, [column.name, column.figures])
    return sheet


def _colours(boxes: Sequence[Box]) -> list[tuple[int, int, int]]:
    return [COLOURS[index % len(COLOURS)] for index in range(len(boxes))]


def _shrink(picture: NDArray[np.uint8], height: int, width: int) -> tuple[Image.Image, float]:
    """The picture as large as it fits into `height` x `width`, and the factor that it was scaled by."""
    ratio = min(height / picture.shape[0], width / picture.shape[1])
    size = max(1, round(picture.shape[1] * ratio)), max(1, round(picture.shape[0] * ratio))
    return Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS), ratio


def _write(pen: ImageDraw.ImageDraw, middle: float, top: float, lines: Sequence[str]) -> None:
    font = ImageFont.load_default(TEXT)
    for index, line in enumerate(line for line in lines if line):
        pen.text((middle, top + TEXT * (0.35 + 1.2 * index)), line, INK, font, anchor="ma")
