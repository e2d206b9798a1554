"""Rows of the table, processes that are counted, and one arrangement for real."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench import scaling
from bench.processes import command_of, cpu_seconds, family, memory_mib
from bench.scaling import Figures


@pytest.mark.parametrize(
    ("lost", "cell"),
    [(None, ""), ({}, "none, of 100"), ({"ReadError": 2, "502": 1}, "1 × 502, 2 × ReadError, of 100")],
)
def test_a_row_shows_the_requests_lost_by_a_kill(lost: dict[str, int] | None, cell: str) -> None:
    row = Figures("x", 12.34, 0.5, 0.125, 1234, "a replica", lost, 100).row()
    assert row == f"| x | 12.3 | 0.5 | 0.125 | 1,234 | a replica | {cell} |"


def test_cpu_time_includes_grandchildren() -> None:
    inner = "import sys; sum(range(10**7)); print('ready', flush=True); sys.stdin.read()"
    outer = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    child = subprocess.Popen(
        [sys.executable, "-c", outer, inner], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        members = family(child.pid)
        assert len(members) == 2 and members[0] == child.pid
        assert "sum(range" in command_of(members[1])
        assert cpu_seconds(members) >= cpu_seconds(members[:1]) + cpu_seconds(members[1:]) - 0.1
        assert cpu_seconds(members[1:]) > 0
        assert memory_mib(members) > memory_mib(members[:1]) > 1
        assert child.stdin is not None
        child.stdin.close()
    assert cpu_seconds(members) == 0 and command_of(child.pid) == ""


def test_an_arrangement_without_its_tools_is_reported_as_not_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scaling, "RAY", Path("/nowhere"))
    scaling.main(["--only", "ray-1"])
    assert "| Ray, one node | not measured" in capsys.readouterr().out


@pytest.mark.slow
def test_a_single_process_can_be_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(scaling, "CLIENTS", 2)
    monkeypatch.setattr(scaling, "SIZE", (32, 32))
    scaling.main(["--only", "one", "--seconds", "1"])
    cells = capsys.readouterr().out.splitlines()[-1].split("|")
    assert cells[1].strip() == "one process"
    assert all(float(cell.replace(",", "")) > 0 for cell in cells[2:6])
