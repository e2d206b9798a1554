"""Text and drawings that once were a JPEG are found by the ringing in their blocks; clean ones are not."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from app.codec import Finding
from app.codec.history import grid, ringing
from bench.pictures import photograph
from tests.codec.history.test_grid import DRAWN, HAVE_BEEN_JPEGS, TRAIN, saved, through, tiles
from tests.codec.support import codec, wanted

SCREENS = Path(__file__).parents[4] / "shared" / "data" / "calibrate" / "screens"
WHITE = (255, 255, 255)
Color = tuple[int, int, int]


def quality_of(picture: Image.Image) -> int | None:
    return ringing.quality_of(tiles(picture.convert("RGB")))


def page(size: int = 12, ink: Color = (0, 0, 0), paper: Color = WHITE, seed: int = 0) -> Image.Image:
    """A page with lines of random words."""
    random = np.random.default_rng(seed)
    picture = Image.new("RGB", (400, 300), paper)
    for top in range(5, 280, int(size * 1.6)):
        words = ["".join(map(chr, random.integers(97, 123, random.integers(2, 9)))) for _ in range(9)]
        draw = ImageDraw.Draw(picture)
        draw.text((int(random.integers(4, 12)), top), " ".join(words), fill=ink, font=ImageFont.load_default(size))
    return picture


@pytest.mark.parametrize("quality", [50, 75, 85, 90, 95])
@pytest.mark.parametrize("size", [8, 12, 16, 24])
def test_the_approximate_quality_of_black_text_on_white_is_found(size: int, quality: int) -> None:
    coded = through(page(size), quality)
    assert quality_of(page(size)) is None
    assert grid.quality_of(tiles(coded)) is None  # clipping at white removes the multiples of the steps
    assert quality_of(coded) == pytest.approx(quality, abs=30 if quality == 50 else 8)


@pytest.mark.parametrize(("ink", "paper"), [(WHITE, (0, 0, 0)), ((60, 60, 60), WHITE), ((20, 30, 40), (255, 250, 250))])
def test_the_quality_of_text_in_other_shades_is_found(ink: Color, paper: Color) -> None:
    assert quality_of(page(ink=ink, paper=paper)) is None
    assert quality_of(through(page(ink=ink, paper=paper), 75)) is not None


@pytest.mark.parametrize(("top", "left"), [(0, 5), (3, 0), (7, 7)])
def test_the_quality_is_found_after_cropping_off_the_grid(top: int, left: int) -> None:
    assert quality_of(through(page(), 75).crop((left, top, 400, 300))) == pytest.approx(75, abs=6)


@pytest.mark.parametrize(("height", "width"), [(265, 391), (297, 393), (265, 393)])
def test_the_quality_is_found_if_edges_have_partial_blocks(height: int, width: int) -> None:
    cropped = through(page(), 75).crop((3, 3, 3 + width, 3 + height))
    assert quality_of(cropped) == pytest.approx(75, abs=6)


@settings(max_examples=30)
@given(
    st.integers(7, 40),
    st.integers(0, 2**32),
    st.tuples(*3 * [st.integers(0, 255)]),
    st.tuples(*3 * [st.integers(0, 255)]),
)
@example(15, 0, (0, 0, 0), (0, 56, 84))  # with so little contrast, smoothed edges look like specks
@example(25, 2641996906, (38, 129, 111), (67, 22, 197))
def test_nothing_is_found_in_clean_text(size: int, seed: int, ink: Color, paper: Color) -> None:
    assert quality_of(page(size, ink, paper, seed)) is None


@pytest.mark.parametrize("name", DRAWN)
def test_nothing_is_found_in_drawings(name: str) -> None:
    assert quality_of(DRAWN[name]) is None
    assert quality_of(DRAWN[name].crop((5, 3, 256, 192))) is None


Box = tuple[int, int, int, int]


def window(
    size: tuple[int, int], shape: str, *boxes: Box, blur: float = 2, shade: int = 170, text: int = 0
) -> Image.Image:
    """Outlined white shapes on white, over their soft shadows, and text in the first one."""
    picture = Image.new("RGB", size, "white")
    for box in boxes:
        getattr(ImageDraw.Draw(picture), shape)(box, fill=(shade, shade, shade))
    picture = picture.filter(ImageFilter.GaussianBlur(blur))
    draw = ImageDraw.Draw(picture)
    for box in boxes:
        getattr(draw, shape)(box, fill="white", outline=(100, 100, 100))
    if text:
        words = "Vertical position\nHorizontal align"
        draw.text((boxes[0][0] + 6, 28), words, fill=0, font=ImageFont.load_default(text))
    return picture


WINDOWS = {
    "a dialog": window((240, 160), "rectangle", (10, 20, 220, 135), text=12),
    "a narrow dialog": window((200, 120), "rectangle", (20, 20, 180, 95), text=10),
    "buttons": window((60, 60), "ellipse", (8, 36, 56, 56), (26, 8, 56, 26), shade=115),
    "a window over another": window((103, 103), "rectangle", (56, 45, 85, 92), (58, 65, 86, 86), shade=127),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_soft_shadows_are_not_taken_for_ringing(name: str) -> None:
    assert quality_of(WINDOWS[name]) is None


SHRINKING = [Image.Resampling.BOX, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS]


@pytest.mark.parametrize("way", SHRINKING, ids=lambda way: way.name)
def test_ringing_from_shrinking_is_not_taken_for_a_jpeg(way: Image.Resampling) -> None:
    for width in (200, 320, 391):
        assert quality_of(page(24).resize((width, width * 3 // 4), way)) is None


def test_nothing_is_found_in_soft_text() -> None:
    assert quality_of(page(24).filter(ImageFilter.GaussianBlur(2))) is None


@pytest.mark.parametrize(
    "background", [page(), page(24), Image.new("RGB", (400, 300), "white")], ids=["12", "24", "none"]
)
def test_nothing_is_found_in_a_clean_page_with_photographs_on_the_grid(background: Image.Image) -> None:
    for seed, at in enumerate([(37, 41), (40, 48), (0, 0)]):
        screen = background.copy()
        picture = Image.fromarray(photograph(120, 160, seed))
        screen.paste(picture, at)
        screen.paste(through(picture, 60), (216, 160))
        assert quality_of(screen) is None


def test_nothing_is_found_in_photographs_compressed_or_not() -> None:
    for seed in range(4):
        picture = Image.fromarray(photograph(200, 264, seed))
        assert quality_of(picture) is None
        assert quality_of(through(picture, 30)) is None


@pytest.mark.parametrize("shape", [(24, 24), (24, 400), (33, 25)])
def test_small_pictures_do_not_fail(shape: Sequence[int]) -> None:
    assert quality_of(page().crop((0, 0, shape[1], shape[0]))) is None
    quality_of(through(page().crop((0, 0, shape[1], shape[0])), 75))


def test_the_codec_reports_ringing_only_for_lossless_files() -> None:
    coded = through(page(), 75)
    found, *_ = codec().decode(saved(coded, "PNG"), wanted(clean="auto")).findings
    assert found.kind == "grid"
    assert found.amount == pytest.approx(75, abs=6)
    jpeg = io.BytesIO()
    page().save(jpeg, "JPEG", quality=75)
    said, *others = codec().decode(jpeg.getvalue(), wanted(clean="auto")).findings
    assert said == Finding("jpeg", 75)
    assert "grid" not in {each.kind for each in others}


@pytest.mark.slow
def test_neither_clean_photographs_nor_screenshots_are_taken_for_jpegs() -> None:
    if not TRAIN.is_dir() or not SCREENS.is_dir():
        pytest.skip("the training pictures and screenshots are not on this machine")
    paths = [path for path in sorted(TRAIN.glob("*/*.png")) if path.parent.name not in HAVE_BEEN_JPEGS]
    screens = sorted(SCREENS.glob("*.png"))
    assert len(paths[::4]) > 100
    assert len(screens) >= 6
    assert [path.name for path in [*paths[::4], *screens] if quality_of(Image.open(path)) is not None] == []
