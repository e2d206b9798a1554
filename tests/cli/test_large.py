"""`lapsrn upscale-large` as real processes: killed, run again, and several at once."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import pictures
from tests.cli.conftest import Lapsrn

COMMAND = [sys.executable, "-m", "app.cli", "upscale-large", "--scale", "2", "--device", "cpu"]


@pytest.fixture
def tall(tmp_path: Path) -> Path:
    """A picture of three bands."""
    source = tmp_path / "tall.png"
    grid = np.random.default_rng(3).integers(0, 256, (3000, 40), np.uint8)
    source.write_bytes(pictures.png(grid))
    return source


@pytest.mark.server
def test_a_killed_run_resumes_where_it_was(tall: Path) -> None:
    target, whole = tall.with_name("out.png"), tall.with_name("whole.png")
    command = [*COMMAND, str(tall), "-o", str(target)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line == "lapsrn: 1 of 3 bands\n":
                process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not target.exists()
    again = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True)
    assert "lapsrn: 0 of 3 bands" not in again.stderr
    subprocess.run(
        [sys.executable, "-m", "app.cli", "upscale", str(tall), "-o", str(whole), "--scale", "2", "--device", "cpu"],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    assert target.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tall.parent.iterdir()) == ["out.png", "tall.png", "whole.png"]


@pytest.mark.server
def test_a_full_disk_is_named_and_the_work_goes_on_later(tall: Path) -> None:
    target = tall.with_name("out.png")
    command = [*COMMAND, str(tall), "-o", str(target)]
    # Files of up to 137 KiB, which the unpacked source fits into and a band does not.
    limited = ["bash", "-c", 'ulimit -f 137 && exec "$@"', "bash", *command]
    failed = subprocess.run(limited, stderr=subprocess.PIPE, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stderr.endswith(f"lapsrn: {tall} cannot be upscaled to {target}: File too large\n")
    subprocess.run(command, stderr=subprocess.DEVNULL, check=True)
    assert sorted(path.name for path in tall.parent.iterdir()) == ["out.png", "tall.png"]


@pytest.mark.server
def test_two_processes_make_one_result_together(tall: Path) -> None:
    target = tall.with_name("out.tif")
    command = [*COMMAND, str(tall), "-o", str(target)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ends = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ends
    assert pictures.opened(target.read_bytes()).shape == (6000, 80)
    assert sorted(path.name for path in tall.parent.iterdir()) == ["out.tif", "tall.png"]


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("tall.png", "-o", "out.webp"), 2, "PNG or TIFF, not webp"),
        (("tall.png", "-o", "out.gif"), 2, "name a file that ends in .png or .tif"),
        (("tall.png", "-o", "out.tif", "--format", "png"), 2, "-o out.tif is named as tiff, but --format is png."),
        (("tall.png", "-o", "out.jpg", "--format", "png"), 2, "-o out.jpg is named as jpeg, but --format is png."),
        (("no.png", "-o", "out.png"), 1, "no such file"),
        (("tall.png", "-o", "tall.png"), 2, "would replace the source"),
        (("tall.png", "-o", "out.png", "--scale", "3"), 2, "--scale 3 is not a level of a network: give 2, 4 or 8."),
        (("tall.png", "-o", "out.png", "--model", "no"), 1, "no model"),
    ],
)
def test_impossible_work_is_refused_in_one_line(
    lapsrn: Lapsrn, tall: Path, arguments: tuple[str, ...], code: int, text: str
) -> None:
    result = lapsrn("upscale-large", *arguments)
    assert result.exit_code == code
    assert text in result.stderr.splitlines()[-1]
    assert not Path("out.png.bands").exists()


def test_an_existing_result_is_kept(lapsrn: Lapsrn, tall: Path) -> None:
    Path("out.png").write_bytes(b"mine")
    result = lapsrn("upscale-large", "tall.png", "-o", "out.png")
    assert result.exit_code == 0
    assert "exists" in result.stderr
    assert Path("out.png").read_bytes() == b"mine"
