"""Pixels that were a JPEG once are found with its quality, and what never was one is not."""

import io
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from app.codec import Finding
from app.codec.history import grid
from app.codec.split import split
from app.service.clean_up import COMPRESSION
from bench.pictures import photograph
from tests.codec.support import FORMULAS, codec, wanted

TRAIN = Path(__file__).parents[4] / "shared" / "data" / "train"
HAVE_BEEN_JPEGS = {"t91", "general100"}
"""Folders of the training pictures in which many show it (shared/data/README.md)."""


def tiles(picture: Image.Image) -> list[NDArray[np.float32]]:
    samples = np.asarray(picture)
    luma = split(samples.reshape(*samples.shape[:2], -1), FORMULAS).luma
    return list(grid.tiles_of(luma.shape[0], luma.shape[1], lambda first, last: luma[first:last]))


def quality_of(picture: Image.Image) -> int | None:
    return grid.quality_of(tiles(picture))


def through(picture: Image.Image, quality: int, **options: object) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality, **options)
    with Image.open(file) as coded:
        coded.load()
        return coded.convert(picture.mode)


def textured(height: int = 160, width: int = 200, mode: str = "RGB") -> Image.Image:
    return Image.fromarray(photograph(height, width)).convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("quality", [10, 30, 50, 75, 85, 90])
def test_a_jpeg_saved_without_losses_is_found_with_its_quality(quality: int, mode: str) -> None:
    assert quality_of(textured(mode=mode)) is None
    assert quality_of(through(textured(mode=mode), quality)) == quality


@pytest.mark.parametrize(("top", "left"), [(0, 5), (3, 0), (7, 7)])
def test_so_it_is_cropped_off_its_grid(top: int, left: int) -> None:
    coded = through(textured(), 75)
    assert quality_of(coded.crop((left, top, 200, 160))) == 75


@pytest.mark.parametrize("offset", [0, 3], ids=["on the same grid", "on another"])
def test_so_it_is_saved_again_at_a_higher_quality(offset: int) -> None:
    coded = through(textured(240, 240), 50).crop((offset, offset, 240, 240))
    assert quality_of(through(coded, 95, subsampling="4:4:4")) == 50


def test_one_that_was_shrunk_since_shows_nothing() -> None:
    coded = through(textured(256, 320), 50)
    assert quality_of(coded.resize((200, 160), Image.Resampling.BICUBIC)) is None


def test_a_picture_of_which_a_small_part_was_a_jpeg_shows_nothing() -> None:
    """Its other parts would lose detail for nothing."""
    screen = textured(400, 480)
    screen.paste(through(textured(128, 128), 60), (37, 41))
    assert quality_of(screen) is None


@pytest.mark.parametrize(("height", "width"), [(2, 2), (8, 8), (23, 400), (64, 9)])
def test_small_pictures_have_no_room_for_it(height: int, width: int) -> None:
    assert quality_of(through(textured(height, width), 50)) is None


def checkerboard(side: int) -> NDArray[np.uint8]:
    rows, columns = np.indices((192, 256)) // side
    return ((rows + columns) % 2 * 255).astype(np.uint8)


def drawn() -> dict[str, Image.Image]:
    """Pictures that were made by programs, many of them with a period of eight pixels."""
    rows, columns = np.indices((192, 256))
    random = np.random.default_rng(0)
    bayer = np.array([[0]])
    for _ in range(3):
        bayer = np.block([[4 * bayer, 4 * bayer + 2], [4 * bayer + 3, 4 * bayer + 1]])
    text = Image.new("L", (256, 192), 255)
    for line in range(16):
        ImageDraw.Draw(text).text((3, 12 * line), "The quick brown fox jumps over the lazy dog, 0123456789", fill=0)
    icons = Image.new("RGB", (256, 192), "white")
    for at in itertools.product(range(0, 256, 16), range(0, 192, 16)):
        ImageDraw.Draw(icons).ellipse((at[0] + 2, at[1] + 2, at[0] + 13, at[1] + 13), fill=(at[0], at[1], 128))
    tile = random.integers(0, 256, (8, 8), np.uint8)
    pictures = {f"a checkerboard of {side}": checkerboard(side) for side in (1, 2, 4, 8, 16)}
    pictures |= {
        "flat": np.full((192, 256), 77, np.uint8),
        "a ramp": columns.astype(np.uint8),
        "a slow ramp": (rows // 4).astype(np.uint8),
        "stripes": (np.sin(columns / 3) * 90 + 128).astype(np.uint8),
        "rings": (np.sin(np.hypot(rows - 96, columns - 128) ** 2 / 200) * 120 + 128).astype(np.uint8),
        "an ordered dither": ((columns > 4 * bayer[rows % 8, columns % 8]) * 255).astype(np.uint8),
        "a random dither": ((columns > random.integers(0, 256, columns.shape)) * 255).astype(np.uint8),
        "noise": random.integers(0, 256, (192, 256, 3), np.uint8),
        "blocks of 8": random.integers(0, 256, (24, 32), np.uint8).repeat(8, 0).repeat(8, 1),
        "pixel art": random.integers(0, 4, (48, 64), np.uint8).repeat(4, 0).repeat(4, 1) * 60,
        "a tile of 8 repeated": np.tile(tile, (24, 32)),
        "few levels": photograph(192, 256) // 32 * 32,
        "one bit": (photograph(192, 256)[..., 1] > 128).astype(np.uint8) * 255,
    }
    found = {name: Image.fromarray(picture) for name, picture in pictures.items()}
    found |= {"text": text, "icons": icons, "soft text": text.filter(ImageFilter.GaussianBlur(0.8))}
    found["a palette"] = textured(192, 256).quantize(64).convert("RGB")
    found["enlarged eight times"] = textured(24, 32).resize((256, 192), Image.Resampling.BILINEAR)
    return found


DRAWN = drawn()


@pytest.mark.parametrize("name", DRAWN)
def test_drawn_pictures_are_no_jpegs(name: str) -> None:
    picture = DRAWN[name]
    assert quality_of(picture) is None
    assert quality_of(picture.crop((5, 3, 256, 192))) is None


@settings(deadline=None, max_examples=40)
@given(
    st.integers(24, 200),
    st.integers(24, 200),
    st.integers(0, 2**32),
    st.sampled_from([lambda p: p, lambda p: p // 16 * 16, lambda p: p.repeat(2, 0).repeat(2, 1)]),
)
def test_photographs_of_any_size_are_no_jpegs(
    height: int, width: int, seed: int, change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
) -> None:
    assert quality_of(Image.fromarray(change(photograph(height, width, seed)))) is None


@pytest.mark.slow
def test_at_most_one_in_a_hundred_clean_photographs_is_taken_for_a_jpeg() -> None:
    if not TRAIN.is_dir():
        pytest.skip("the training pictures are not on this machine")
    paths = [path for path in sorted(TRAIN.glob("*/*.*")) if path.suffix in (".png", ".jpg")]
    clean = [path for path in paths if path.parent.name not in HAVE_BEEN_JPEGS][::4]
    alarms = [path.name for path in clean if quality_of(Image.open(path)) is not None]
    assert len(clean) > 200
    assert len(alarms) <= len(clean) / 100, alarms


def saved(picture: Image.Image, kind: str, **options: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (saved(textured(), "PNG"), ()),
        (saved(through(textured(), 60), "PNG"), (Finding("grid", 60),)),
        (saved(textured(), "JPEG", quality=60), (Finding("jpeg", 60), Finding("grid", 60))),
        (saved(through(textured(), 60), "JPEG", quality=97), (Finding("jpeg", 97), Finding("grid", 60))),
        (saved(through(textured(), 60), "TIFF"), (Finding("grid", 60),)),
    ],
    ids=["png", "png of a jpeg", "jpeg", "jpeg of a jpeg", "tiff of a jpeg"],
)
def test_the_codec_tells_what_file_and_pixels_say(data: bytes, found: tuple[Finding, ...]) -> None:
    told = codec().decode(data, wanted(clean="auto")).findings
    assert tuple(each for each in told if each.kind in COMPRESSION) == found


def test_it_is_looked_for_only_where_it_decides_something() -> None:
    """Without clean-up nothing depends on it; at a strength, the network does that cleans up."""
    for clean, found in ((0.0, 0), (0.5, 2), (1.0, 2), ("auto", 2)):
        decoded = codec().decode(saved(textured(), "JPEG", quality=60), wanted(clean=clean))
        assert len([each for each in decoded.findings if each.kind in COMPRESSION]) == found
