"""A bench with an option that cannot work ends with one line, and none measures a program that failed."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import __main__ as every
from bench import border, calibrate, degraded, findings, jpeg_damage, large, png, served


@pytest.mark.parametrize(
    ("program", "arguments", "line"),
    [
        (every.main, ["--json", "gone/a.json"], "there is no folder gone for a.json; make it first"),
        (png.main, ["--json", "gone/a.json"], "there is no folder gone for a.json; make it first"),
        (png.main, ["--runs", "0"], "argument --runs: 0 is not allowed; it must be at least 1"),
        (border.main, ["--data", "gone"], "there is no folder gone/Set5/HR"),
        (served.main, ["--data", "gone"], "there is no folder gone/Set5/HR"),
        (degraded.main, ["--data", "gone"], "there is no folder gone/Set5/HR"),
        (degraded.main, ["--strengths", "7"], "argument --strengths: the strength is 7; give one from 0 to 1"),
        (findings.main, ["--data", "gone"], "there is no folder gone"),
        (calibrate.main, ["gone", "--base", "gone"], "no weights at gone; train some"),
        (jpeg_damage.main, ["--seeds", "0"], "argument --seeds: 0 is not allowed; it must be at least 1"),
        (large.main, ["--height", "0"], "argument --height: 0 is not allowed; it must be at least 1"),
        (large.main, ["--scale", "3"], "argument --scale: invalid choice: 3 (choose from 2, 4, 8)"),
    ],
)
def test_options_that_cannot_work_are_refused_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    program: Callable[[], object],
    arguments: list[str],
    line: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["bench", *arguments])
    with pytest.raises(SystemExit) as end:
        program()
    told = str(end.value.code) if isinstance(end.value.code, str) else capsys.readouterr().err
    assert line in told
    assert len(told.splitlines()) == 1


def test_the_memory_of_a_command_that_fails_is_no_measurement() -> None:
    with pytest.raises(SystemExit, match="failed, so nothing was measured"):
        large._run([sys.executable, "-c", "raise SystemExit(2)"], stop_after=None)
    killed = f"import os; os.kill(os.getpid(), {signal.SIGKILL})"
    with pytest.raises(SystemExit, match="failed, so nothing was measured"):
        large._run([sys.executable, "-c", killed], stop_after=None)
    assert large._run([sys.executable, "-c", ""], stop_after=None) > 0
