"""`lapsrn upscale` as it is typed, here and through a service, on a network that repeats pixels."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from app.build import ModelSource
from app.cli.commands import app
from tests import pictures
from tests.cli.conftest import LOADING, Lapsrn
from tests.codec.metadata.sources import png
from tests.fakes import FakeModel, worker

Tiles = NDArray[np.float32]

GRAY = pictures.gray(5, 7)
FILE = pictures.png(GRAY)


def enlarged(scale: int) -> NDArray[np.uint8]:
    return GRAY.repeat(scale, axis=0).repeat(scale, axis=1)


def album() -> None:
    """A tree with two good pictures, a bad one, and a file that is no picture."""
    Path("album/sub").mkdir(parents=True)
    Path("album/a.png").write_bytes(FILE)
    Path("album/bad.png").write_bytes(b"not a picture")
    Path("album/sub/c.bmp").write_bytes(pictures.encoded(GRAY, "BMP"))
    Path("album/notes.txt").write_bytes(b"text")


@pytest.fixture(params=["here", "service"])
def where(request: pytest.FixtureRequest) -> list[str]:
    """The options that choose where it is done; both have to behave alike."""
    return [] if request.param == "here" else ["--server", request.getfixturevalue("url")]


def test_a_tree_is_mirrored_despite_a_bad_picture(lapsrn: Lapsrn, where: list[str]) -> None:
    album()
    result = lapsrn("upscale", "album", "-o", "out", *where)
    assert result.exit_code == 1
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert any(line.startswith("done    album/a.png -> out/album/a.png (") for line in lines)
    assert any(line.startswith("failed  album/bad.png: ") and "PNG, JPEG" in line for line in lines)
    assert lines[-1].startswith("2 done, 1 failed in ") or lines[-1].startswith("1 done, 1 failed, 1 done in ")
    assert sorted(str(path) for path in Path("out").rglob("*.*")) == ["out/album/a.png", "out/album/sub/c.png"]
    for path in Path("out").rglob("*.png"):
        np.testing.assert_array_equal(pictures.opened(path.read_bytes()), enlarged(4))


def test_the_model_can_be_named(lapsrn: Lapsrn, where: list[str]) -> None:
    Path("a.png").write_bytes(FILE)
    assert lapsrn("upscale", "a.png", "-o", "named.png", "--model", "fake_x4", *where).exit_code == 0
    np.testing.assert_array_equal(pictures.opened(Path("named.png").read_bytes()), enlarged(4))
    result = lapsrn("upscale", "a.png", "-o", "other.png", "--model", "other", *where)
    assert result.exit_code == 1
    assert "no model 'other' here; there are fake_x4" in result.stderr.replace("\n", " ")
    assert not Path("other.png").exists()


def test_json_prints_one_line_per_picture_and_a_summary(lapsrn: Lapsrn, where: list[str]) -> None:
    album()
    result = lapsrn("upscale", "album", "gone.png", "-o", "out", "--json", *where)
    *lines, summary = (json.loads(line) for line in result.stdout.splitlines())
    by_source = {line.pop("source"): line for line in lines}
    assert result.exit_code == 1
    assert summary["summary"] | {"seconds": 0} == {"done": 2, "skipped": 0, "failed": 2, "seconds": 0}
    assert by_source["album/a.png"]["bytes"] == Path("out/album/a.png").stat().st_size
    assert by_source["album/bad.png"]["type"] == "urn:lapsrn:problem:unsupported-format"
    assert by_source["gone.png"] == {
        "target": "out/gone.png",
        "status": "failed",
        "error": "there is no such file",
        "type": None,
    }


@pytest.mark.parametrize(
    ("arguments", "scale", "form"),
    [
        (["--scale", "2", "-o", "x.png"], 2, "PNG"),
        (["--level", "2", "-o", "x.png"], 2, "PNG"),
        (["-o", "x.webp"], 4, "WEBP"),
        (["--level", "2", "--format", "tiff", "-o", "x.tif"], 2, "TIFF"),
    ],
)
def test_scale_level_and_format_can_be_chosen(
    lapsrn: Lapsrn, where: list[str], arguments: list[str], scale: int, form: str
) -> None:
    Path("a.png").write_bytes(FILE)
    result = lapsrn("upscale", "a.png", *arguments, *where)
    assert result.exit_code == 0, result.stderr
    body = Path(arguments[-1]).read_bytes()
    with Image.open(io.BytesIO(body)) as picture:
        assert picture.format == form
        np.testing.assert_array_equal(np.asarray(picture.convert("L")), enlarged(scale))


def test_a_picture_from_stdin_goes_to_stdout(lapsrn: Lapsrn, where: list[str]) -> None:
    result = lapsrn("upscale", "-", "-o", "-", *where, stdin=FILE)
    assert result.exit_code == 0
    np.testing.assert_array_equal(pictures.opened(result.stdout_bytes), enlarged(4))


def test_a_bad_picture_writes_nothing_to_standard_output(lapsrn: Lapsrn, where: list[str]) -> None:
    result = lapsrn("upscale", "-", "-o", "-", *where, stdin=b"nothing")
    assert (result.exit_code, result.stdout_bytes) == (1, b"")
    (line,) = (line for line in result.stderr.splitlines() if line != LOADING)
    assert line.startswith("failed  -: ")


@pytest.mark.parametrize(
    "options",
    [
        ["--ensemble"],
        ["--effort", "high"],
        ["--quality", "high"],
        ["--quality", "best"],
        ["--ensemble", "--quality", "95", "--format", "jpeg"],
        ["--effort", "best", "--quality", "95", "--format", "jpeg"],
    ],
)
def test_ensemble_runs_eight_passes(
    lapsrn: Lapsrn, where: list[str], monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    tiles: list[int] = []
    real = FakeModel.run

    def counted(
        self: FakeModel,
        batch: Tiles,
        scale: int,
        *,
        full_precision: bool = False,
        clean: float = 0.0,
        compressed: bool = True,
    ) -> dict[int, Tiles]:
        tiles.append(len(batch))
        return real(self, batch, scale, full_precision=full_precision, clean=clean)

    monkeypatch.setattr(FakeModel, "run", counted)
    Path("a.png").write_bytes(FILE)
    assert lapsrn("upscale", "a.png", "-o", "plain", *where).exit_code == 0
    plain = sum(tiles)
    assert lapsrn("upscale", "a.png", "-o", "out", *options, *where).exit_code == 0
    assert sum(tiles) - plain == 8 * plain
    (made,) = Path("out").iterdir()
    assert pictures.opened(made.read_bytes()).shape[:2] == (20, 28)


def test_existing_results_are_skipped_unless_overwriting(lapsrn: Lapsrn) -> None:
    Path("a.png").write_bytes(FILE)
    Path("out").mkdir()
    Path("out/a.png").write_bytes(b"mine")
    result = lapsrn("upscale", "a.png", "-o", "out")
    assert (result.exit_code, Path("out/a.png").read_bytes()) == (0, b"mine")
    assert result.stderr.splitlines()[0] == "skipped a.png: out/a.png exists"
    assert lapsrn("upscale", "a.png", "-o", "out", "--overwrite", "--quiet").stderr == ""
    np.testing.assert_array_equal(pictures.opened(Path("out/a.png").read_bytes()), enlarged(4))


def test_picture_options_are_passed_to_the_codec(lapsrn: Lapsrn, where: list[str]) -> None:
    whole = pictures.encoded(pictures.rgb(40, 40), "JPEG")
    Path("half.jpg").write_bytes(whole[: len(whole) * 3 // 4])
    refused = lapsrn("upscale", "half.jpg", "-o", "out", *where)
    taken = lapsrn("upscale", "half.jpg", "-o", "out", "--truncated", "allow", *where)
    assert (refused.exit_code, taken.exit_code) == (1, 0)
    assert pictures.opened(Path("out/half.png").read_bytes()).shape == (160, 160, 3)


@pytest.fixture
def _nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the network was loaded")

    monkeypatch.setattr("app.build.open_model", fail)


@pytest.mark.usefixtures("_nothing_is_loaded")
@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["gone.png", "-o", "out"], 1, "failed  gone.png: there is no such file"),
        (["empty", "-o", "out"], 1, "failed  empty: there are no pictures in this folder"),
        (["*.tif", "-o", "out"], 1, "failed  *.tif: nothing matches this pattern"),
        (["x" * 256, "-o", "out"], 1, f"failed  {'x' * 256}: File name too long"),
        (["fifo", "-o", "out"], 1, "failed  fifo: not a regular file; to read a pipe, pass - for IN"),
        (["/dev/zero", "-o", "out"], 1, "failed  /dev/zero: not a regular file; to read a pipe, pass - for IN"),
        (["a.png", "-o", "made"], 0, "skipped a.png: made/a.png exists"),
        (["a.png", "-o", "x" * 256 + ".png"], 1, f"failed  a.png: {'x' * 256}.png cannot be written: File name too"),
        (["a.png", "-o", "out", "--model", "typo"], 1, "lapsrn: there is no model 'typo' here; there are fake_x4"),
        (["a.png", "-o", "out", "--weights", "typo"], 1, "lapsrn: no weights at typo; set LAPSRN_WEIGHTS, or train"),
    ],
)
def test_the_network_is_not_loaded_if_there_is_no_work(
    lapsrn: Lapsrn, arguments: list[str], code: int, told: str
) -> None:
    Path("a.png").write_bytes(FILE)
    os.mkfifo("fifo")
    Path("empty").mkdir()
    Path("made").mkdir()
    Path("made/a.png").touch()
    result = lapsrn("upscale", *arguments)
    assert result.exit_code == code
    assert result.stderr.startswith(told)
    assert not Path("out").exists()


def test_problems_are_reported_before_the_network_is_loaded(lapsrn: Lapsrn) -> None:
    for name in ("a.png", "b.png"):
        Path(name).write_bytes(FILE)
    Path("out").mkdir()
    Path("out/a.png").touch()
    result = lapsrn("upscale", "b.png", "gone.png", "a.png", "-o", "out")
    lines = result.stderr.splitlines()
    assert lines[:3] == ["failed  gone.png: there is no such file", "skipped a.png: out/a.png exists", LOADING]
    assert lines[3].startswith("done    b.png -> out/b.png (")
    assert lines[4].startswith("1 done, 1 failed, 1 skipped in ")
    assert lines[5] == (
        "Results that exist are kept, whatever options they were made with; --overwrite makes them again."
    )
    assert len(lines) == 6


@pytest.mark.parametrize("option", ["--json", "--quiet"])
def test_quiet_and_json_suppress_the_loading_message(lapsrn: Lapsrn, option: str) -> None:
    Path("a.png").write_bytes(FILE)
    result = lapsrn("upscale", "a.png", "-o", "out", option)
    assert (result.exit_code, result.stderr) == (0, "")


def test_errors_name_the_flags_of_the_command_line(lapsrn: Lapsrn, where: list[str]) -> None:
    frames = [Image.fromarray(GRAY), Image.fromarray(255 - GRAY)]
    frames[0].save("film.gif", save_all=True, append_images=frames[1:])
    result = lapsrn("upscale", "film.gif", "-o", "out", "--json", *where)
    line = json.loads(result.stdout.splitlines()[0])
    assert line["error"].endswith(
        "The GIF has more than one frame; --frames first takes the first, --frames all takes all."
    )
    assert lapsrn("upscale", "film.gif", "-o", "out", "--frames", "first", *where).exit_code == 0


def test_a_result_that_cannot_be_written_is_named(lapsrn: Lapsrn, where: list[str]) -> None:
    Path("a.png").write_bytes(FILE)
    Path("out/a.png").mkdir(parents=True)
    result = lapsrn("upscale", "a.png", "-o", "out", "--overwrite", *where)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "failed  a.png: out/a.png cannot be written: Is a directory"


def test_metadata_that_is_left_out_is_reported(lapsrn: Lapsrn, where: list[str]) -> None:
    Path("a.png").write_bytes(png((b"eXIf", b"no directory of anything")))
    result = lapsrn("upscale", "a.png", "-o", "b.png", *where)
    assert result.exit_code == 0
    assert result.stderr.splitlines()[-1].strip() == "exif dropped (unreadable)"
    result = lapsrn("upscale", "a.png", "-o", "c.png", "--json", *where)
    assert json.loads(result.stdout.splitlines()[0])["left_out"] == "exif dropped (unreadable)"
    result = lapsrn("upscale", "a.png", "-o", "d.png", "--level", "2", *where)
    assert result.stderr.splitlines()[-1].strip() == "exif dropped (unreadable)"


def test_a_truncated_picture_is_reported(lapsrn: Lapsrn, where: list[str]) -> None:
    Path("a.png").write_bytes(FILE[:-20])
    asked = ["upscale", "a.png", "--truncated", "allow", *where]
    for more in ([], ["--level", "2"]):
        result = lapsrn(*asked, "-o", f"b{len(more)}.png", *more)
        assert result.exit_code == 0
        assert result.stderr.splitlines()[-1].strip() == "incomplete: a part of it was missing or damaged"
    result = lapsrn(*asked, "-o", "c.png", "--json")
    assert json.loads(result.stdout.splitlines()[0])["truncated"] is True
    Path("a.png").write_bytes(FILE)
    assert "truncated" not in lapsrn(*asked, "-o", "d.png", "--json").stdout


@pytest.mark.parametrize(
    ("options", "told"),
    [([], "0.5; jpeg=90"), (["--clean", "auto"], "0.5; jpeg=90"), (["--clean", "0"], "0"), (["--clean", "1"], "1")],
)
def test_clean_up_is_applied_and_reported(
    lapsrn: Lapsrn, monkeypatch: pytest.MonkeyPatch, options: list[str], told: str
) -> None:
    models = ModelSource([worker(lambda: FakeModel(strengths={"jpeg": [(80, 1.0), (100, 0.0)], "noise": [(2, 0.5)]}))])
    monkeypatch.setattr("app.build.open_model", lambda settings, given: models)
    Image.fromarray(np.full((5, 7), 200, np.uint8)).save("a.jpg", quality=90)
    result = lapsrn("upscale", "a.jpg", "-o", "a.png", "--json", *options)
    assert result.exit_code == 0
    assert json.loads(result.stdout.splitlines()[0])["clean"] == told
    luma = 16 + 219 * 200 / 255
    expected = (luma * (1 - float(told.partition(";")[0]) / 2) - 16) * 255 / 219
    assert pictures.opened(Path("a.png").read_bytes()).mean() == pytest.approx(expected, abs=1)


def test_clean_up_is_refused_if_the_network_has_none(lapsrn: Lapsrn, where: list[str]) -> None:
    Path("a.png").write_bytes(FILE)
    result = lapsrn("upscale", "a.png", "-o", "out", "--clean", "0.5", *where)
    assert result.exit_code == 1
    assert "fake_x4 has no clean-up" in result.stderr
    assert not Path("out/a.png").exists()


@pytest.mark.parametrize(("option", "chunk"), [("--lossless", b"VP8L"), ("--no-lossless", b"VP8 ")])
def test_webp_is_written_lossy_or_lossless_as_requested(
    lapsrn: Lapsrn, where: list[str], option: str, chunk: bytes
) -> None:
    Path("a.png").write_bytes(FILE)
    assert lapsrn("upscale", "a.png", "-o", "a.webp", option, *where).exit_code == 0
    assert Path("a.webp").read_bytes()[12:16] == chunk


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "out"], "Missing argument"),
        (["a.png"], "Missing option"),
        (["a.png", "-o", "out", "--scale", "9"], "'9' is not a number from 1 to 8"),
        (["a.png", "-o", "out", "--width", "1_0"], "'1_0' is not a whole number of at least 1"),
        (["a.png", "-o", "out", "--scale", "\u0662"], "'\u0662' is not a number from 1 to 8"),
        (["a.png", "-o", "out", "--scale", "2", "--level", "4"], "--level 4 is more than --scale 2"),
        (["a.png", "-o", "-", "--json"], "both want standard output"),
        (
            ["a.png", "-o", "out", "--quality", "101"],
            "'101' is neither a number from 1 to 100 nor medium, high or best",
        ),
        (
            ["a.png", "-o", "out", "--quality", "worst"],
            "'worst' is neither a number from 1 to 100 nor medium, high or best",
        ),
        (["a.png", "-o", "out", "--clean", "2"], "'2' is neither a number from 0 to 1 nor auto"),
        (["a.png", "-o", "out", "--clean", "0_1"], "'0_1' is neither a number from 0 to 1 nor auto"),
        (["a.png", "-o", "out", "--clean", "nan"], "'nan' is neither a number from 0 to 1 nor auto"),
        (["a.png", "-o", "out", "--clean", "strong"], "'strong' is neither a number from 0 to 1 nor auto"),
        (["a.png", "-o", "a.png"], "would replace the source"),
        (["", "-o", "out"], "Argument 1 is empty."),
        (["a.png", "-o", ""], "Argument 3 is empty."),
        (["a.png", "-o", "out", "--server", ""], "Argument 5 is empty."),
        (["a.png", "-o", "out", "--weights="], "--weights= has no value."),
    ],
)
def test_usage_errors_exit_with_2_and_write_nothing(lapsrn: Lapsrn, arguments: list[str], message: str) -> None:
    Path("a.png").write_bytes(FILE)
    result = lapsrn("upscale", *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert os.listdir() == ["a.png"]  # noqa: PTH208


def test_an_unreachable_service_fails_each_picture(lapsrn: Lapsrn) -> None:
    Path("a.png").write_bytes(FILE)
    result = lapsrn("upscale", "a.png", "-o", "out", "--server", "http://127.0.0.1:9")
    assert result.exit_code == 1
    assert result.stderr.startswith("failed  a.png: no answer from http://127.0.0.1:9: ")


def test_invalid_settings_are_reported_in_one_line(lapsrn: Lapsrn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAPSRN_PORT", "many")
    Path("a.png").write_bytes(FILE)
    result = lapsrn("upscale", "a.png", "-o", "out")
    assert result.exit_code == 1
    assert result.stderr.startswith("lapsrn: LAPSRN_PORT: ")
    assert len(result.stderr.splitlines()) == 1


def test_pictures_above_the_limits_of_the_service_are_upscaled_locally(lapsrn: Lapsrn) -> None:
    Path("wide.png").write_bytes(pictures.png(np.zeros((1, 4_200_000 // 64), np.uint8).repeat(65, axis=0)))
    assert lapsrn("upscale", "wide.png", "-o", "out", "--scale", "2").exit_code == 0
    assert pictures.opened(Path("out/wide.png").read_bytes()).shape == (130, 131_250)


def test_limits_that_are_set_apply_locally(lapsrn: Lapsrn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAPSRN_MAX_INPUT_PIXELS", "34")
    Path("a.png").write_bytes(FILE)
    result = lapsrn("upscale", "a.png", "-o", "out", "--json")
    told = json.loads(result.stdout.splitlines()[0])
    assert told["type"] == "urn:lapsrn:problem:too-many-pixels"
    assert told["error"].endswith("lapsrn upscale-large takes a TIFF or PNG of any size.")


@pytest.mark.slow
def test_level_2_of_a_pass_at_4_equals_a_pass_at_2(weights: Path, tmp_path: Path) -> None:
    picture = tmp_path / "photo.png"
    picture.write_bytes(pictures.png(pictures.rgb(40, 30)))
    bodies = []
    for option in ("--level", "--scale"):
        target = tmp_path / f"{option}.png"
        arguments = ["upscale", str(picture), "-o", str(target), option, "2", "--weights", str(weights)]
        assert CliRunner().invoke(app, arguments).exit_code == 0
        bodies.append(target.read_bytes())
    assert bodies[0] == bodies[1]


def test_an_invalid_environment_is_reported_in_one_line(lapsrn: Lapsrn, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.png").write_bytes(FILE)
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
    result = lapsrn("upscale", "a.png", "-o", "out", "--server", "https://pictures.test")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("lapsrn: no way to https://pictures.test: [Errno 2] No such file or directory; check ")


def test_weights_that_are_only_a_strength_cannot_be_chosen_as_a_model(
    lapsrn: Lapsrn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights are a file beside the others: each picture failed on its own, and it was named as a choice."""
    monkeypatch.delenv("LAPSRN_WEIGHTS")
    Path("a.png").write_bytes(FILE)
    served = "lapsrn_x4, lapsrn_x8, lapsrn_x4_deep, lapsrn_x4_deep_jpeg, lapsrn_x4_jpeg"
    for name, there in (("typo", served), ("lapsrn_x4_lanczos", "fake_x4")):  # the fake is what loading gives
        result = lapsrn("upscale", "a.png", "-o", "out", "--model", name)
        assert result.exit_code == 1
        assert result.stderr.splitlines()[-1] == f"lapsrn: there is no model {name!r} here; there are {there}"
    assert not Path("out").exists()
