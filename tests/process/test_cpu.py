"""A CPU that numpy does not run on is named before numpy is imported."""

import platform
import sys
from pathlib import Path

import pytest

from app import cli
from app.process import cpu

FIRST = "fpu mmx fxsr sse sse2 syscall nx lm pni"


def listed(monkeypatch: pytest.MonkeyPatch, folder: Path, flags: str, machine: str = "x86_64") -> None:
    """Makes this machine one whose /proc/cpuinfo has these flags."""
    path = folder / "cpuinfo"
    path.write_text(f"processor\t: 0\nmodel name\t: Common KVM processor\nflags\t\t: {flags}\n")
    monkeypatch.setattr(cpu, "Path", lambda _: path)
    monkeypatch.setattr(platform, "machine", lambda: machine)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    listed(monkeypatch, tmp_path, f"{FIRST} cx16 ssse3")
    assert "lacks popcnt, sse4_1, sse4_2, which numpy needs" in cpu.complaint()


@pytest.mark.parametrize(
    ("flags", "machine"), [(f"{FIRST} cx16 popcnt sse4_1 sse4_2 ssse3", "x86_64"), (FIRST, "aarch64")]
)
def test_what_numpy_runs_on_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str, machine: str) -> None:
    listed(monkeypatch, tmp_path, flags, machine)
    assert not cpu.complaint()


def test_a_system_that_lists_no_features_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    listed(monkeypatch, tmp_path, "")
    (tmp_path / "cpuinfo").write_text("processor\t: 0\n")
    assert not cpu.complaint()
    (tmp_path / "cpuinfo").unlink()
    assert not cpu.complaint()


def test_the_command_ends_with_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    listed(monkeypatch, tmp_path, FIRST)
    monkeypatch.setattr(sys, "argv", ["lapsrn", "--version"])
    with pytest.raises(SystemExit, match="lapsrn: this CPU lacks cx16, popcnt"):
        cli.main()
