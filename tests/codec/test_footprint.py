"""The memory that a picture needs, in bytes per source pixel."""

import numpy as np
import pytest

from app.codec import Decoded, Picture, footprint
from app.formats import OUTPUT_FORMATS, OutputFormat
from app.options import UpscaleOptions

HEIGHT, WIDTH = 10, 20


def decoded(channels: int, frames: int = 1, depth: int = 8) -> Decoded:
    plane = np.zeros((HEIGHT, WIDTH), np.float32)
    picture = Picture(plane, None if channels < 3 else (plane, plane), plane if channels in (2, 4) else None)
    return Decoded((picture,) * frames, 16 if depth == 16 else 8, "PNG")


def per_pixel(source: Decoded, made: tuple[int, ...], written: tuple[int, ...], form: OutputFormat) -> float:
    taken = footprint(source, made, written, UpscaleOptions(scale=made[-1], format=form))
    return taken / (HEIGHT * WIDTH * len(source.frames))


@pytest.mark.parametrize(
    ("channels", "depth", "form", "expected"),
    [
        (1, 8, "png", 4 * 21 + 20 * 0.35),
        (3, 8, "png", 4 * 21 + 8 + 20 * 3 * 0.35),
        (4, 8, "png", 8 * 21 + 8 + 20 * 4 * 0.35),
        (3, 16, "png", 4 * 21 + 8 + 20 * 6 * 0.35),
        (3, 16, "jpeg", 4 * 21 + 8 + 20 * 3 * 3.25),
        (1, 8, "webp", 4 * 21 + 20 * (3 * 1.5 + 36)),
        (3, 8, "avif", 4 * 21 + 8 + 20 * (3 * 1.5 + 44)),
    ],
)
def test_planes_chroma_and_files_are_counted(channels: int, depth: int, form: OutputFormat, expected: float) -> None:
    assert per_pixel(decoded(channels, depth=depth), (2, 4), (2, 4), form) == pytest.approx(expected)


def test_levels_that_are_computed_but_not_written_count_as_planes_only() -> None:
    assert per_pixel(decoded(1), (2, 4), (4,), "png") == pytest.approx(4 * 21 + 16 * 0.35)


def test_all_frames_of_an_animation_count_as_merged() -> None:
    assert per_pixel(decoded(3, frames=5), (2,), (2,), "png") == pytest.approx(4 * 5 + 8 + 4 * 3 * 2.5)


def test_png_needs_the_least_memory() -> None:
    sizes = {form: per_pixel(decoded(3), (2, 4), (2, 4), form) for form in OUTPUT_FORMATS}
    assert min(sizes, key=lambda form: sizes[form]) == "png"
