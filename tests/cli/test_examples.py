"""The examples in docs/examples do what they say, against the real service on loopback."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import pictures

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"
GRAY = pictures.gray(5, 7)
COMMANDS = {"upscale.sh": "sh", "upscale.py": sys.executable, "upscale.mjs": "node"}
TOOLS = {"upscale.sh": "curl", "upscale.py": sys.executable, "upscale.mjs": "node"}
pytestmark = pytest.mark.server


def example(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which(TOOLS[name]) is None:
        pytest.skip(f"{TOOLS[name]} is not on this machine")
    return subprocess.run(
        [COMMANDS[name], str(EXAMPLES / name), *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT / "clients" / "python" / "src")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_every_example_is_tested() -> None:
    assert {path.name for path in EXAMPLES.iterdir() if path.is_file()} == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_an_example_writes_both_levels(url: str, tmp_path: Path, name: str) -> None:
    picture = tmp_path / "photo.one.png"
    picture.write_bytes(pictures.png(GRAY))
    done = example(name, str(picture), f"{url}/")  # as browsers show the address
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    for scale in (2, 4):
        made = pictures.opened((tmp_path / f"photo.one_x{scale}.png").read_bytes())
        np.testing.assert_array_equal(made, GRAY.repeat(scale, axis=0).repeat(scale, axis=1))


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("stem", ['so, or; "so"', "a.b/photo"])
def test_file_names_are_used_unchanged(url: str, tmp_path: Path, name: str, stem: str) -> None:
    """With what tools have a meaning for, and without an ending in a folder that has one."""
    picture = tmp_path / (stem if "/" in stem else f"{stem}.png")
    picture.parent.mkdir(exist_ok=True)
    picture.write_bytes(pictures.png(GRAY))
    done = example(name, str(picture), url)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert (tmp_path / f"{stem}_x4.png").exists()
    assert (tmp_path / f"{stem}_x2.png").exists()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_bad_picture_is_reported_and_leaves_no_files(url: str, tmp_path: Path, name: str) -> None:
    picture = tmp_path / "photo.png"
    picture.write_bytes(b"no picture")
    done = example(name, str(picture), url)
    assert done.returncode == 1
    assert "Not an accepted picture format" in done.stderr
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == ["photo.png"]  # noqa: PTH208


@pytest.mark.parametrize("name", COMMANDS)
def test_a_missing_picture_is_named_in_one_line(url: str, tmp_path: Path, name: str) -> None:
    done = example(name, str(tmp_path / "photo.png"), url)
    assert done.returncode != 0
    (line,) = done.stderr.strip().splitlines()
    assert "photo.png" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unreachable_service_is_reported_in_one_line(tmp_path: Path, name: str) -> None:
    picture = tmp_path / "photo.png"
    picture.write_bytes(pictures.png(GRAY))
    earlier = tmp_path / "photo_x4.png"
    earlier.write_bytes(b"an earlier result")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    done = example(name, str(picture), f"http://127.0.0.1:{port}")
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert str(port) in line or "127.0.0.1" in line
    assert earlier.read_bytes() == b"an earlier result"
    assert sorted(os.listdir(tmp_path)) == ["photo.png", "photo_x4.png"]  # noqa: PTH208
