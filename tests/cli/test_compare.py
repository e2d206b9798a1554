"""The comparison sheet: the details it chooses, what it draws, and the figures under it."""

import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.cli.backends import Place
from app.cli.batch import Result
from app.cli.compare import bicubic, choose, compare
from app.cli.sheet import COLOURS, FRAME, GAP, TILE, Box, Column, draw
from app.options import UpscaleOptions
from model.color import luma
from model.quality import psnr, ssim
from model.resample import round_to_uint8
from tests import pictures
from tests.cli.conftest import Lapsrn


def busy(height: int, width: int, *spots: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Flat, but for checkerboards (top, left, contrast) of 20x20."""
    picture = np.full((height, width, 3), 90, np.uint8)
    rows, columns = np.indices((20, 20))
    for top, left, contrast in spots:
        picture[top : top + 20, left : left + 20] += (contrast * ((rows + columns) % 2)).astype(np.uint8)[..., None]
    return picture


def test_the_busiest_details_are_chosen_from_top_to_bottom() -> None:
    picture = busy(60, 90, (30, 10, 100), (5, 60, 50))
    boxes = choose(picture, 2)
    assert [box.size for box in boxes] == [20, 20]
    assert [(abs(box.top - top) <= 1, abs(box.left - left) <= 1) for box, (top, left) in
            zip(boxes, [(5, 60), (30, 10)], strict=True)] == [(True, True)] * 2  # fmt: skip
    (best,) = choose(picture, 1)
    assert abs(best.top - 30) <= 1, "the stronger of the two"


def test_details_do_not_overlap_and_may_be_fewer_than_requested() -> None:
    boxes = choose(busy(30, 30, (5, 5, 100)), 4)
    assert 1 <= len(boxes) <= 4
    for first in boxes:
        for second in boxes:
            apart = abs(first.top - second.top) >= first.size or abs(first.left - second.left) >= first.size
            assert first is second or apart


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 50), (50, 2), (7, 5)])
def test_tiny_pictures_have_a_detail(height: int, width: int) -> None:
    boxes = choose(pictures.rgb(height, width), 2)
    assert boxes
    for box in boxes:
        assert 0 <= box.top <= height - box.size
        assert 0 <= box.left <= width - box.size


def test_details_are_enlarged_pixel_for_pixel_and_framed() -> None:
    first, second = pictures.rgb(66, 99), pictures.rgb(66, 99)[::-1].copy()
    boxes = [Box(3, 5, 33), Box(20, 60, 33)]
    sheet = np.asarray(draw(first, boxes, [Column("one", first), Column("two", second, "30.00 dB")]))
    zoom = TILE // 33
    overview_width = round(99 * (2 * 33 * zoom + GAP) / 66)
    for column, picture in enumerate((first, second)):
        for row, box in enumerate(boxes):
            top = GAP + row * (33 * zoom + GAP)
            left = GAP + overview_width + GAP + column * (33 * zoom + GAP)
            tile = sheet[top : top + 33 * zoom, left : left + 33 * zoom]
            detail = picture[box.top : box.top + 33, box.left : box.left + 33]
            inside = slice(FRAME, -FRAME)
            expected = detail.repeat(zoom, axis=0).repeat(zoom, axis=1)
            np.testing.assert_array_equal(tile[inside, inside], expected[inside, inside])
            np.testing.assert_array_equal(tile[0], np.broadcast_to(np.array(COLOURS[row]), tile[0].shape))


def test_bicubic_is_the_resampling_of_the_project() -> None:
    picture = pictures.rgb(5, 7)
    with Image.fromarray(picture) as image:
        pillow = np.asarray(image.resize((28, 20), Image.Resampling.BICUBIC)).astype(int)
    inner = np.s_[8:-8, 8:-8]
    assert np.abs(bicubic(picture, 20, 28).astype(int) - pillow)[inner].max() <= 1


def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Column]:
    """What will be drawn."""
    columns: list[Column] = []

    def noting(overview: NDArray[np.uint8], boxes: Sequence[Box], given: Sequence[Column]) -> Image.Image:
        columns.extend(given)
        return draw(overview, boxes, given)

    monkeypatch.setattr("app.cli.compare.draw", noting)
    return columns


def test_a_sheet_with_the_original_shows_scores(lapsrn: Lapsrn, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = pictures.rgb(49, 66)
    small = truth[:48:4, :64:4]
    Path("small.png").write_bytes(pictures.png(small))
    Path("truth.png").write_bytes(pictures.png(truth))
    columns = drawn(monkeypatch)
    result = lapsrn("compare", "small.png", "--hr", "truth.png", "-o", "sheet.png")
    assert result.exit_code == 0, result.stderr
    assert [column.name for column in columns] == ["bicubic", "LapSRN", "truth"]
    np.testing.assert_array_equal(columns[0].picture, bicubic(small, 48, 64))
    np.testing.assert_array_equal(columns[2].picture, truth[:48, :64])
    assert columns[1].picture.shape == (48, 64, 3)
    wanted = round_to_uint8(luma(truth[:48, :64]) * 255)
    for column in columns[:2]:
        made = round_to_uint8(luma(column.picture) * 255)
        assert column.figures == f"{psnr(made, wanted, 4):.2f} dB / {ssim(made, wanted, 4):.4f}"
    assert pictures.opened(Path("sheet.png").read_bytes()).shape[2] == 3


def test_a_sheet_without_the_original_has_two_columns(lapsrn: Lapsrn) -> None:
    Path("photo.jpg").write_bytes(pictures.encoded(pictures.rgb(40, 30), "JPEG"))
    widths = []
    for hr in ([], ["--hr", "large.png"]):
        Path("large.png").write_bytes(pictures.png(pictures.rgb(160, 120)))
        result = lapsrn("compare", "photo.jpg", *hr, "-o", "sheet.png", "--crop", "0,0,66", "--crop", "90,50,66")
        assert result.exit_code == 0, result.stderr
        widths.append(pictures.opened(Path("sheet.png").read_bytes()).shape[1])
    assert widths[1] - widths[0] == TILE + GAP


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.png", "-o", "sheet.png"], "gone.png: there is no such file"),
        (["text.png", "-o", "sheet.png"], "text.png: not a picture that can be read"),
        (["photo.png", "-o", "sheet.jpg"], "the sheet is a PNG"),
        (
            ["photo.png", "-o", "sheet.png", "--hr", "photo.png"],
            "--hr has 12x16 pixels, and the result will have 48x64",
        ),
        (["photo.png", "-o", "sheet.png", "--crop", "1,2"], "--crop 1,2: give TOP,LEFT,SIZE"),
        (["photo.png", "-o", "sheet.png", "--crop", "20,20,40"], "is not inside the result of 48x64 pixels"),
    ],
)
def test_pictures_that_do_not_fit_together_are_a_usage_error(
    lapsrn: Lapsrn, arguments: list[str], message: str
) -> None:
    Path("photo.png").write_bytes(pictures.png(pictures.rgb(12, 16)))
    Path("text.png").write_bytes(b"text")
    result = lapsrn("compare", *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert not Path("sheet.png").exists()


def test_the_enlargement_can_come_from_a_service(lapsrn: Lapsrn, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("small.png").write_bytes(pictures.png(pictures.rgb(12, 16)))
    columns = drawn(monkeypatch)
    for options in ([], ["--server", url, "--model", "fake_x4"]):
        assert lapsrn("compare", "small.png", "-o", "sheet.png", *options).exit_code == 0
    np.testing.assert_array_equal(columns[1].picture, columns[3].picture)
    result = lapsrn("compare", "small.png", "-o", "sheet.png", "--server", url, "--model", "other")
    assert result.exit_code == 2
    assert "there is no model 'other' here; there are fake_x4" in result.stderr


def test_model_and_effort_are_passed_on_like_in_upscale(lapsrn: Lapsrn, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[UpscaleOptions] = []

    class Backend:
        def __init__(self, settings: object, options: UpscaleOptions, level: int | None) -> None:
            asked.append(options)
            self.scale = options.least_level

        async def start(self) -> None:
            """Nothing is loaded."""

        async def upscale(self, data: bytes, progress: object) -> Result:
            return Result(pictures.png(pictures.rgb(12 * self.scale, 16 * self.scale)))

        async def close(self) -> None:
            """Nothing to close."""

    monkeypatch.setattr("app.cli.local.LocalBackend", Backend)
    Path("small.png").write_bytes(pictures.png(pictures.rgb(12, 16)))
    options = ["--model", "fake_x4", "--effort", "high", "--scale", "2"]
    assert lapsrn("compare", "small.png", "-o", "sheet.png", *options).exit_code == 0
    assert asked == [UpscaleOptions(scale=2, model="fake_x4", effort="high", frames="first", color="srgb", depth="8")]
    result = lapsrn("compare", "small.png", "-o", "sheet.png", "--model", "other")
    assert (result.exit_code, result.stderr) == (1, "lapsrn: there is no model 'other' here; there are fake_x4\n")


@pytest.mark.parametrize("name", ["fifo.png", "cut.png", "bomb.png", "folder.png"])
def test_files_that_are_not_pictures_are_reported_in_one_line(lapsrn: Lapsrn, name: str) -> None:
    whole = pictures.png(pictures.rgb(12, 16))
    os.mkfifo("fifo.png")
    Path("cut.png").write_bytes(whole[:60])
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    Path("bomb.png").write_bytes(whole[:12] + chunk + struct.pack(">I", zlib.crc32(chunk)) + whole[33:])
    Path("folder.png").mkdir()
    Path("small.png").write_bytes(whole)
    for arguments in ([name], ["small.png", "--hr", name]):
        result = lapsrn("compare", *arguments, "-o", "sheet.png")
        assert result.exit_code == 2
        assert result.stderr.startswith(f"lapsrn: {name}: ")
        assert len(result.stderr.splitlines()) == 1


def test_an_unreadable_picture_is_reported_in_one_line(lapsrn: Lapsrn, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("small.png", "secret.png"):
        Path(name).write_bytes(pictures.png(pictures.rgb(12, 16)))
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "secret.png")
    for arguments in (["secret.png"], ["small.png", "--hr", "secret.png"]):
        result = lapsrn("compare", *arguments, "-o", "sheet.png")
        assert (result.exit_code, result.stderr) == (2, "lapsrn: secret.png: Permission denied\n")


@pytest.mark.slow
def test_real_weights_beat_bicubic_on_the_sheet(
    weights: Path, bench_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = drawn(monkeypatch)
    low, high = (bench_dir / "Set5" / kind / "butterfly.png" for kind in ("LRx4", "HR"))
    place = Place(weights=weights, device="cpu")
    assert compare(low, high, tmp_path / "sheet.png", UpscaleOptions(scale=4), [], 2, place) == 0
    ours, theirs = (float(columns[index].figures.split()[0]) for index in (1, 0))
    assert theirs == pytest.approx(22.10, abs=0.02)
    assert ours > theirs + 2
