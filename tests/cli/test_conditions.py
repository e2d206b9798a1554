"""Options that contradict each other or could have no effect are refused, and nothing is loaded for that."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import pictures
from tests.cli.conftest import Lapsrn

URL = ["--server", "http://127.0.0.1:9"]


@pytest.fixture(autouse=True)
def _nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the network was loaded")

    monkeypatch.setattr("app.cli.local.LocalBackend", fail)
    monkeypatch.setattr("app.cli.remote.RemoteBackend", fail)


@pytest.fixture
def refused(lapsrn: Lapsrn) -> Callable[..., str]:
    """The one line with which a command on a.png is refused; it leaves no file behind."""

    def run(*arguments: str) -> str:
        Path("a.png").write_bytes(pictures.png(pictures.rgb(12, 16)))
        result = lapsrn(*arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert os.listdir() == ["a.png"]  # noqa: PTH208
        (line,) = result.stderr.splitlines()
        return line

    return run


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([*URL, "--weights", "w"], "--weights is for work on this machine, but --server (or LAPSRN_SERVER) has"),
        ([*URL, "--device", "cpu"], "--device is for work on this machine, but --server (or LAPSRN_SERVER) has"),
        (["--jobs", "4"], "--jobs is for work done by a service: give --server URL too, or leave --jobs out."),
        (["--api-key", "k"], "--api-key is for work done by a service: give --server URL too, or leave --api-key out."),
        (["--server", "localhost:8000"], "--server (or LAPSRN_SERVER) is 'localhost:8000'; it has to be an address"),
        (["--server", "ftp://host"], "--server (or LAPSRN_SERVER) is 'ftp://host'; it has to be an address"),
        (["--server", "http://[::1"], "--server (or LAPSRN_SERVER) is 'http://[::1'; it has to be an address"),
        (["--server", "http://host:x"], "--server (or LAPSRN_SERVER) is 'http://host:x'; it has to be an address"),
        ([*URL, "--api-key", "schlüssel"], "--api-key (or LAPSRN_API_KEY) has characters other than printable ASCII"),
        ([*URL, "--api-key", "key\n"], "--api-key (or LAPSRN_API_KEY) has characters other than printable ASCII ones."),
        (["--level", "4"], "--level 4 is what --scale 4 gives anyway: leave it out, or choose a smaller one."),
        (["--level", "8"], "--level 8 is more than --scale 4: a pass has the levels up to its scale."),
        (
            ["--quality", "90"],
            "--quality is for lossy formats, and png is lossless: leave it out, or choose webp, jpeg, avif or jxl",
        ),
        (["--quality", "90", "--format", "tiff"], "--quality is for lossy formats, and tiff is lossless: leave it out"),
        (["--quality", "90", "--lossless", "--format", "webp"], "--quality and --lossless contradict each other"),
        (["--lossless", "--format", "jpeg"], "--lossless does not go with jpeg: choose png, webp, tiff or jxl."),
        (["--lossless", "--format", "avif"], "--lossless does not go with avif: choose png, webp, tiff or jxl."),
        (["--no-lossless"], "--no-lossless does not go with png: choose webp, jpeg, avif or jxl."),
    ],
)
def test_upscale_refuses_contradictory_arguments(refused: Callable[..., str], options: list[str], message: str) -> None:
    assert refused("upscale", "a.png", "-o", "out", *options).startswith(f"lapsrn: {message}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "x.png", "--quality", "5"], "--quality is for lossy formats, and png is lossless"),
        (["-o", "x.jpg", "--lossless"], "--lossless does not go with jpeg"),
        (["-o", "-", "--overwrite"], "--overwrite is for results in files, and -o - writes to standard output"),
        (["-o", "a.png/x"], "-o a.png/x cannot be written: a.png is not a folder."),
        (["-o", "a.png/x.png"], "-o a.png/x.png cannot be written: a.png is not a folder."),
        (["-o", "a.bmp"], "-o a.bmp: results cannot be written as .bmp; name a file that ends in .png, .webp, .jpg, "),
    ],
)
def test_upscale_refuses_arguments_that_contradict_its_output(
    refused: Callable[..., str], arguments: list[str], message: str
) -> None:
    assert refused("upscale", "a.png", *arguments).startswith(f"lapsrn: {message}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([*URL, "--weights", "w"], "--weights is for work on this machine"),
        (["--api-key", "k"], "--api-key is for work done by a service"),
        (["--crop", "0,0,9", "--crops", "2"], "--crops is how many details to choose, and --crop chooses them"),
        (["--crop", "1,2"], "--crop 1,2: give TOP,LEFT,SIZE"),
        (["--hr", "a.png"], "--hr has 12x16 pixels, and the result will have 48x64"),
        (["--hr", "gone.png"], "gone.png: there is no such file"),
        (["-o", "sheet.jpg"], "the sheet is a PNG"),
        (["-o", "a.png"], "-o a.png would replace a picture that the sheet is made of"),
        (["-o", "a.png/sheet.png"], "-o a.png/sheet.png cannot be written: a.png is not a folder."),
    ],
)
def test_compare_refuses_contradictory_arguments(refused: Callable[..., str], options: list[str], message: str) -> None:
    assert refused("compare", "a.png", "-o", "sheet.png", *options).startswith(f"lapsrn: {message}")


def test_pictures_too_small_to_score_are_refused_before_loading(
    refused: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "small.png").write_bytes(pictures.png(pictures.rgb(4, 4)))
    (folder / "large.png").write_bytes(pictures.png(pictures.rgb(8, 8)))
    options = ["--scale", "2", "--hr", str(folder / "large.png")]
    told = refused("compare", str(folder / "small.png"), "-o", "sheet.png", *options)
    assert told == "lapsrn: SSIM needs at least 11x11 pixels after shaving, not 4x4"
