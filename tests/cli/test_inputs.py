"""Which pictures a command line means, and where each result goes."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from app.cli.inputs import PlanError, plan
from app.formats import OutputFormat

TREE = (
    "photo.jpg",
    "notes.txt",
    "album/a.png",
    "album/b.JPEG",
    "album/list.txt",
    "album/.hidden.png",
    "album/.cache/c.png",
    "album/sub/a.png",
    "twins/a.jpg",
    "twins/a.png",
    "empty/readme.md",
    "odd[1].png",
)
Plan = Callable[..., dict[str, str]]


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Plans within TREE; the answer is {source: target}, and a problem stands in for a target."""
    for name in TREE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, output: str = "out", format: OutputFormat | None = None) -> dict[str, str]:
        works, _ = plan(arguments, output, format)
        return {work.name: work.problem or str(work.target) for work in works}

    return run


@pytest.mark.parametrize(
    ("arguments", "output", "expected"),
    [
        (["photo.jpg"], "out", {"photo.jpg": "out/photo.png"}),
        (["photo.jpg"], "big.png", {"photo.jpg": "big.png"}),
        (["photo.jpg"], "deep/new/big.webp", {"photo.jpg": "deep/new/big.webp"}),
        (["photo.jpg"], "album", {"photo.jpg": "album/photo.png"}),
        (["notes.txt"], "out", {"notes.txt": "out/notes.png"}),
        (["odd[1].png"], "out", {"odd[1].png": "out/odd[1].png"}),
        (["-"], "out", {"-": "out/stdin.png"}),
        (["-"], "-", {"-": "None"}),
        (
            ["album"],
            "out",
            {
                "album/a.png": "out/album/a.png",
                "album/b.JPEG": "out/album/b.png",
                "album/sub/a.png": "out/album/sub/a.png",
            },
        ),
        (["album/sub/"], "out", {"album/sub/a.png": "out/sub/a.png"}),
        (["album/sub/.."], "out", {
            "album/sub/../a.png": "out/a.png",
            "album/sub/../b.JPEG": "out/b.png",
            "album/sub/../sub/a.png": "out/sub/a.png",
        }),
        (["twins"], "out", {"twins/a.jpg": "out/twins/a.jpg.png", "twins/a.png": "out/twins/a.png.png"}),
        (["album/*"], "out", {"album/a.png": "out/a.png", "album/b.JPEG": "out/b.png"}),
        (["album/**/a.*"], "out", {"album/a.png": "out/a.png", "album/sub/a.png": "out/sub/a.png"}),
        (["photo.jpg", "twins/a.png"], "out", {"photo.jpg": "out/photo.png", "twins/a.png": "out/a.png"}),
        (["photo.jpg", "photo.jpg"], "out", {"photo.jpg": "out/photo.png"}),
        (
            ["gone.png", "*.gif", "empty", "photo.jpg"],
            "out",
            {
                "gone.png": "there is no such file",
                "*.gif": "nothing matches this pattern",
                "empty": "there are no pictures in this folder",
                "photo.jpg": "out/photo.png",
            },
        ),
    ],
)  # fmt: skip
def test_results_go_where_the_arguments_say(
    planned: Plan, arguments: list[str], output: str, expected: dict[str, str]
) -> None:
    assert planned(*arguments, output=output) == expected


@pytest.mark.parametrize(
    ("output", "chosen", "format", "target"),
    [
        ("out", None, "png", "out/photo.png"),
        ("out", "jpeg", "jpeg", "out/photo.jpg"),
        ("out", "tiff", "tiff", "out/photo.tif"),
        ("big.webp", None, "webp", "big.webp"),
        ("big.JPG", None, "jpeg", "big.JPG"),
        ("big.tiff", "tiff", "tiff", "big.tiff"),
        ("-", "avif", "avif", "None"),
    ],
)
def test_format_is_chosen_or_named_by_the_output(
    planned: Plan, output: str, chosen: OutputFormat | None, format: str, target: str
) -> None:
    works, found = plan(["photo.jpg"], output, chosen)
    assert (found, str(works[0].target)) == (format, target)


@pytest.mark.parametrize(
    ("arguments", "output", "format", "message"),
    [
        (["photo.jpg", "album/a.png"], "-", None, "-o - takes one picture, and these are 2."),
        (["album"], "big.png", None, "-o big.png is one file, and there are 3 pictures: give a folder."),
        (["photo.jpg"], "big.png", "webp", "-o big.png is named as png, but --format is webp."),
        (["album/a.png"], "album", None, "album/a.png would replace the source album/a.png: give another -o."),
        (["photo.jpg"], "photo.jpg", None, "photo.jpg would replace the source photo.jpg: give another -o."),
        (["album/a.png"], "album/sub", None, None),
        (["twins/a.jpg", "album"], "album", None, "album/a.png would replace the source album/a.png: give another -o."),
    ],
)
def test_outputs_that_would_lose_a_picture_are_refused(
    planned: Plan, arguments: list[str], output: str, format: OutputFormat | None, message: str | None
) -> None:
    if message is None:
        assert planned(*arguments, output=output, format=format) == {"album/a.png": "album/sub/a.png"}
        return
    with pytest.raises(PlanError) as caught:
        planned(*arguments, output=output, format=format)
    assert str(caught.value).startswith(message)


def test_two_pictures_never_share_a_result(planned: Plan) -> None:
    with pytest.raises(PlanError, match=r"album/a\.png and album/sub/a\.png would both be written to out/a\.png"):
        planned("album/a.png", "album/sub/a.png")


def test_names_that_differ_only_in_case_are_separated_on_case_insensitive_systems(
    planned: Plan, tmp_path: Path
) -> None:
    """As on macOS, where Photo.PNG and its result Photo.png are one file, and é is one however it is written."""
    for name in ("Photo.PNG", "twins/A.webp", "caf\u00e9.jpg", "sub/cafe\u0301.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert planned("twins/A.webp", "twins/a.jpg") == {"twins/A.webp": "out/A.png", "twins/a.jpg": "out/a.png"}
    other = tmp_path.with_name(tmp_path.name.swapcase())
    other.symlink_to(tmp_path)  # what would be found there
    assert planned("twins/A.webp", "twins/a.jpg") == {"twins/A.webp": "out/A.webp.png", "twins/a.jpg": "out/a.jpg.png"}
    with pytest.raises(PlanError, match=r"Photo\.png would replace the source Photo\.PNG: give another -o"):
        planned("Photo.PNG", output=".")
    with pytest.raises(PlanError, match="would both be written to out/cafe\u0301"):
        planned("caf\u00e9.jpg", "sub/cafe\u0301.jpg")
    other.unlink()


@pytest.mark.parametrize("argument", ["album", "album/**/*.png", "."])
def test_results_inside_the_source_folder_are_not_taken_for_sources(
    planned: Plan, tmp_path: Path, argument: str
) -> None:
    before = planned(argument, output="album/out")
    for target in before.values():
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).touch()
    assert (tmp_path / "album" / "out").is_dir()
    assert planned(argument, output="album/out") == before


def test_a_folder_can_be_its_own_output(planned: Plan) -> None:
    before = planned("album", output="album")
    assert before["album/a.png"] == "album/album/a.png"
    for target in before.values():
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).touch()
    assert planned("album", output="album") == before


@pytest.mark.parametrize("argument", ["album", "album/**/*.png", "album/*/*.png", "album/sub/*/*/a.png"])
def test_links_to_folders_are_not_followed(planned: Plan, argument: str) -> None:
    before = planned(argument)
    os.symlink("..", "album/sub/loop")  # noqa: PTH211
    os.symlink("sub", "album/other")  # noqa: PTH211
    assert planned(argument) == before


def test_a_link_given_as_an_argument_is_followed(planned: Plan) -> None:
    os.symlink("album/sub", "link")  # noqa: PTH211
    assert planned("link") == {"link/a.png": "out/link/a.png"}
    assert planned("link/*.png") == {"link/a.png": "out/a.png"}


@pytest.mark.parametrize(
    ("argument", "places"),
    [
        ("album", {"album/a.png": "out/album/a.png", "album/b.JPEG": "out/album/b.png"}),
        ("album/**/*.png", {"album/a.png": "out/a.png"}),
    ],
)
def test_folders_that_cannot_be_read_are_reported(
    planned: Plan, monkeypatch: pytest.MonkeyPatch, argument: str, places: dict[str, str]
) -> None:
    real = os.scandir

    def scandir(path: Path) -> object:
        if path == Path("album/sub"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr("os.scandir", scandir)
    assert planned(argument) == places | {"album/sub": "this folder cannot be read: Permission denied"}


@pytest.mark.parametrize("argument", ["pipe.png", "album", "album/*.png"])
def test_pipes_and_devices_are_not_read(planned: Plan, argument: str) -> None:
    os.mkfifo("pipe.png")
    os.mkfifo("album/pipe.png")
    assert next(problem for name, problem in planned(argument).items() if name.endswith("pipe.png")) == (
        "not a regular file; to read a pipe, pass - for IN"
    )
    assert planned("/dev/zero") == {"/dev/zero": "not a regular file; to read a pipe, pass - for IN"}


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ("x" * 300, "File name too long"),
        ("x/" * 3000, "File name too long"),
        ("photo.jpg/below", "Not a directory"),
        ("x*" * 300, "nothing matches this pattern"),
        ("x*/" * 300, "nothing matches this pattern"),
    ],
)
def test_arguments_that_match_nothing_are_reported(planned: Plan, argument: str, problem: str) -> None:
    assert planned(argument, "photo.jpg") == {argument: problem, "photo.jpg": "out/photo.png"}


@pytest.mark.parametrize("argument", [".", "./", "../empty"])
def test_an_empty_folder_is_reported(planned: Plan, monkeypatch: pytest.MonkeyPatch, argument: str) -> None:
    monkeypatch.chdir("empty")
    assert list(planned(argument, output="../out").values()) == ["there are no pictures in this folder"]


@pytest.mark.parametrize("output", ["out.bmp", "deep/out.GIF", "out.jfif", "out.heic", "out.svg", "out.ppm"])
def test_an_output_in_a_format_that_cannot_be_written_is_refused(planned: Plan, output: str) -> None:
    suffix = Path(output).suffix
    with pytest.raises(PlanError) as caught:
        planned("photo.jpg", output=output)
    assert str(caught.value) == (
        f"-o {output}: results cannot be written as {suffix}; name a file that ends in "
        f".png, .webp, .jpg, .jpeg, .avif, .tif, .tiff, .jxl, or a folder ({output}/)."
    )
    Path(output).mkdir(parents=True)
    assert planned("photo.jpg", output=output) == {"photo.jpg": f"{output}/photo.png"}


@pytest.mark.parametrize("output", ["out.bmp/", "v1.2", "2024.07", "out.d"])
def test_a_folder_may_have_a_dot_in_its_name(planned: Plan, output: str) -> None:
    assert planned("photo.jpg", output=output) == {"photo.jpg": str(Path(output) / "photo.png")}


@pytest.mark.parametrize("output", ["x" * 300, "x" * 300 + ".png", "photo.jpg/out", "photo.jpg/out.png"])
def test_an_impossible_output_can_be_planned(planned: Plan, output: str) -> None:
    target = output if output.endswith(".png") else f"{output}/notes.png"
    assert planned("notes.txt", output=output) == {"notes.txt": target}


def test_the_output_folder_may_be_the_searched_folder(planned: Plan) -> None:
    assert planned("twins/*.jpg", output="twins", format="webp") == {"twins/a.jpg": "twins/a.webp"}
    assert planned("*.jpg", output=".") == {"photo.jpg": "photo.png"}
