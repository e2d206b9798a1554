"""What cannot be read or written is known before it is tried, and a result is written whole or not at all."""

import os
import socket
from pathlib import Path

import pytest

from app.cli import files


def test_missing_folders_are_created(tmp_path: Path) -> None:
    target = tmp_path / "new" / "deep" / "out.png"
    files.write(target, b"body")
    assert target.read_bytes() == b"body"
    assert os.listdir(target.parent) == ["out.png"]  # noqa: PTH208


def test_files_have_the_usual_permissions(tmp_path: Path) -> None:
    usual = tmp_path / "usual"
    usual.touch()
    files.write(tmp_path / "out.png", b"body")
    assert (tmp_path / "out.png").stat().st_mode == usual.stat().st_mode


@pytest.mark.parametrize("failing", ["os.fsync", "pathlib.Path.replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_existing_file(
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


@pytest.mark.parametrize("name", ["x" * 251 + ".png", "é" * 125 + ".png", "語" * 83 + ".png", "\udcff" * 251 + ".png"])
def test_names_of_maximum_length_can_be_written(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    files.write(target, b"body")
    assert target.read_bytes() == b"body"
    assert os.listdir(tmp_path) == [name]  # noqa: PTH208


def test_partly_written_files_can_be_discarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def interrupted(*_: object) -> None:
        seen.append(os.listdir(tmp_path))  # noqa: PTH208
        files.discard()
        seen.append(os.listdir(tmp_path))  # noqa: PTH208

    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(FileNotFoundError):
        files.write(tmp_path / "out.png", b"body")
    assert [len(names) for names in seen] == [1, 0]
    files.discard()


def test_only_regular_files_with_permission_are_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as unix:
        monkeypatch.chdir(tmp_path)
        unix.bind("socket")
    assert {name: files.unreadable(tmp_path / name) for name in ("file", "link", "loop", "fifo", "socket", "gone")} == {
        "file": "",
        "link": "",
        "loop": "Too many levels of symbolic links",
        "fifo": "not a regular file",
        "socket": "not a regular file",
        "gone": "there is no such file",
    }
    assert files.unreadable(Path("/dev/zero")) == "not a regular file"
    assert files.unreadable(tmp_path) == "Is a directory"
    assert files.unreadable(tmp_path / "file" / "below") == "Not a directory"
    assert files.unreadable(tmp_path / ("x" * 256)) == "File name too long"
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert files.unreadable(tmp_path / "file") == "Permission denied"


@pytest.mark.parametrize(
    ("target", "folder", "reason"),
    [
        ("new", True, ""),
        ("new/deep", True, ""),
        ("folder", True, ""),
        ("file", True, "{}/file is not a folder"),
        ("file/below/deep", True, "{}/file is not a folder"),
        ("x" * 256, True, "File name too long"),
        ("x" * 256 + "/deep", True, "File name too long"),
        ("new.png", False, ""),
        ("new/deep.png", False, ""),
        ("file", False, ""),
        ("folder", False, "it is a folder"),
        ("file/new.png", False, "{}/file is not a folder"),
        ("x" * 256 + ".png", False, "File name too long"),
    ],
)
def test_reasons_why_a_path_cannot_be_written_are_named(tmp_path: Path, target: str, folder: bool, reason: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    assert files.unwritable(tmp_path / target, folder=folder) == reason.format(tmp_path)


def test_folders_without_permission_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert files.unwritable(tmp_path / "new" / "deep", folder=True) == f"{tmp_path} is not writable"


def test_a_path_that_cannot_be_inspected_is_not_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise PermissionError

    assert files.is_folder(tmp_path)
    assert not files.is_folder(tmp_path / ("x" * 256))
    monkeypatch.setattr("os.stat", fail)
    assert not files.is_folder(tmp_path)
