"""A result is written whole or not at all."""

import os
from pathlib import Path

import pytest

from app.cli import files


def test_writes_into_folders_that_are_not_there_yet(tmp_path: Path) -> None:
    target = tmp_path / "new" / "deep" / "out.png"
    files.write(target, b"body")
    assert target.read_bytes() == b"body"
    assert os.listdir(target.parent) == ["out.png"]  # noqa: PTH208


def test_file_has_the_usual_permissions(tmp_path: Path) -> None:
    usual = tmp_path / "usual"
    usual.touch()
    files.write(tmp_path / "out.png", b"body")
    assert (tmp_path / "out.png").stat().st_mode == usual.stat().st_mode


@pytest.mark.parametrize("failing", ["os.fsync", "pathlib.Path.replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    target = tmp_path / "out.png"
    target.write_bytes(b"before")
    monkeypatch.setattr(failing, fail)
    with pytest.raises(type(error)):
        files.write(target, b"after")
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["out.png"]  # noqa: PTH208
    assert target.read_bytes() == b"before"


def test_longest_names_can_be_written(tmp_path: Path) -> None:
    target = tmp_path / ("x" * 251 + ".png")
    files.write(target, b"body")
    assert target.read_bytes() == b"body"
