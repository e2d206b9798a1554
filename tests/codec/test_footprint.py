"""The memory that a picture needs, in bytes per source pixel."""

from dataclasses import replace

import numpy as np
import pytest

from app.codec import Decoded, Picture, footprint
from app.codec.footprint import BAND_BYTES
from app.codec.types import Metadata
from app.formats import OUTPUT_FORMATS, OutputFormat
from app.memory.limits import THREAD
from app.options import UpscaleOptions

HEIGHT, WIDTH = 10, 20


def decoded(channels: int, frames: int = 1, depth: int = 8) -> Decoded:
    plane = np.zeros((HEIGHT, WIDTH), np.float32)
    picture = Picture(plane, None if channels < 3 else (plane, plane), plane if channels in (2, 4) else None)
    return Decoded((picture,) * frames, 16 if depth == 16 else 8, "PNG")


def per_pixel(source: Decoded, made: tuple[int, ...], written: tuple[int, ...], form: OutputFormat) -> float:
    taken = footprint(source, made, written, UpscaleOptions(scale=made[-1], format=form))
    return taken / (HEIGHT * WIDTH * len(source.frames))


def test_metadata_is_counted_for_every_file() -> None:
    plain = decoded(3)
    with_profile = replace(plain, metadata=Metadata(icc=bytes(1000), exif=bytes(200), xmp=bytes(30)))
    options = UpscaleOptions(scale=4, format="png")
    more = footprint(with_profile, (2, 4), (2, 4), options) - footprint(plain, (2, 4), (2, 4), options)
    assert more == 1230 * (1 + 2 * 2)


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


def for_bands(height: int, width: int, form: OutputFormat = "png", size: tuple[int, int] | None = None) -> int:
    """Bytes beyond those of every pixel, of RGB at x4."""
    plane = np.broadcast_to(np.float32(0), (height, width))
    source, options = Decoded((Picture(plane, (plane, plane)),), 8, "PNG"), UpscaleOptions(scale=4, format=form)
    elsewhere = Decoded((Picture(plane.T, (plane.T, plane.T)),), 8, "PNG")
    return footprint(source, (2, 4), (4,), options, size) - footprint(elsewhere, (2, 4), (4,), options)


def test_the_memory_that_each_codec_thread_is_allotted_holds_the_bands_of_square_pictures() -> None:
    assert BAND_BYTES == THREAD
    assert for_bands(2048, 2048) == 0


@pytest.mark.parametrize(
    ("rows", "floats", "columns"), [(1, 4, 2**20), (4, 16, 2**20), (16, 32, 2**18), (64, 64, 2**16)]
)
def test_a_very_wide_picture_takes_memory_for_its_bands_as_well(rows: int, floats: int, columns: int) -> None:
    """As measured on noise of four megapixels: without it, 1,533 MiB were counted as 435."""
    of_a_row = 4 * columns * 3
    assert for_bands(rows, columns) == of_a_row * (4 * floats + 2 * 4 * rows) - BAND_BYTES


def test_the_bands_of_a_wide_picture_that_is_reduced_are_values_not_samples() -> None:
    """As measured at 262144 x 16: without it, 3,060 MiB were counted as 435."""
    columns, to = 2**18, 3 * 2**18
    assert (
        for_bands(16, columns, size=(48, to)) == 3 * 4 * (32 * 4 * columns + 64 * (4 * columns + 3 * to)) - BAND_BYTES
    )
