"""Searching a folder by a pattern: what matches, in which order, and what is reported instead."""

import os
from pathlib import Path

import pytest

from app.cli.search import EVERYTHING, search

TREE = (
    "b.png",
    "a.png",
    ".hidden.png",
    "one/a.png",
    "one/deep/a.png",
    "one/deep/.hidden/a.png",
    "two/b.jpg",
    "two/one/a.png",
)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of TREE, which is the current one."""
    for name in TREE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(pattern: str, *excluded: Path) -> list[str]:
    """The paths below the current folder; "path: reason" for what could not be listed."""
    entries = search(Path(), tuple(pattern.split("/")), {str(path) for path in excluded})
    return [f"{path}: {reason}" if reason else str(path) for path, reason in entries]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", ["a.png", "b.png"]),
        (".*", [".hidden.png"]),
        ("[!a].png", ["b.png"]),
        ("**/*", ["a.png", "b.png", "one/a.png", "one/deep/a.png", "two/b.jpg", "two/one/a.png"]),
        ("**", ["a.png", "b.png", "one/a.png", "one/deep/a.png", "two/b.jpg", "two/one/a.png"]),
        ("**/a.png", ["a.png", "one/a.png", "one/deep/a.png", "two/one/a.png"]),
        ("**/one/*", ["one/a.png", "two/one/a.png"]),
        ("**/**/b.*", ["b.png", "two/b.jpg"]),
        ("**/one/**/a.png", ["one/a.png", "one/deep/a.png", "two/one/a.png"]),
        ("*/*.png", ["one/a.png"]),
        ("*/../b.png", ["one/../b.png", "two/../b.png"]),
        ("one/deep/.*/*", ["one/deep/.hidden/a.png"]),
        ("*/gone.png", []),
        ("gone/**/*.png", []),
        ("b.png/*", []),
    ],
)
def test_patterns_match_like_glob(tree: Path, pattern: str, expected: list[str]) -> None:
    assert found(pattern) == expected


def test_the_everything_pattern_matches_every_file(tree: Path) -> None:
    assert "/".join(EVERYTHING) == "**/*"


@pytest.mark.parametrize("pattern", ["**/*.png", "*/*.png", "*/deep/*.png", "**/loop/a.png"])
def test_links_to_folders_are_not_followed(tree: Path, pattern: str) -> None:
    before = found(pattern)
    for name in ("loop", "one/loop", "one/deep/loop", "two/loop"):
        os.symlink(tree, name)  # noqa: PTH211
    assert found(pattern) == before


def test_links_to_files_and_dangling_links_are_found(tree: Path) -> None:
    os.symlink("a.png", "c.png")  # noqa: PTH211
    os.symlink("gone", "d.png")  # noqa: PTH211
    assert found("*") == ["a.png", "b.png", "c.png", "d.png"]


def test_a_linked_start_folder_is_searched(tree: Path) -> None:
    os.symlink("one", "link")  # noqa: PTH211
    assert [str(path) for path, _ in search(Path("link"), EVERYTHING)] == ["link/a.png", "link/deep/a.png"]


def test_excluded_folders_are_skipped(tree: Path) -> None:
    assert found("**/*", tree / "one", tree / "two" / "one") == ["a.png", "b.png", "two/b.jpg"]
    assert found("**/*", tree) == found("**/*"), "the folder that is searched is not one of its subfolders"


@pytest.mark.parametrize("pattern", ["**/*", "**/a.png", "*/*", "one/*"])
def test_a_folder_that_cannot_be_listed_is_reported_once(
    tree: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    real = os.scandir

    def scandir(path: Path) -> object:
        if path == Path("one"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    before = found(pattern)
    monkeypatch.setattr("os.scandir", scandir)
    assert found(pattern) == sorted(
        [path for path in before if not path.startswith("one/")] + ["one: Permission denied"]
    )
