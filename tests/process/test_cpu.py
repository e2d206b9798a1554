"""A CPU that numpy does not run on is named before numpy is imported; and cores are divided."""

import os
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


def test_missing_cpu_features_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    listed(monkeypatch, tmp_path, f"{FIRST} cx16 ssse3")
    assert "lacks popcnt, sse4_1, sse4_2, which numpy needs" in cpu.complaint()


@pytest.mark.parametrize(
    ("flags", "machine"), [(f"{FIRST} cx16 popcnt sse4_1 sse4_2 ssse3", "x86_64"), (FIRST, "aarch64")]
)
def test_cpus_that_numpy_supports_are_accepted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str, machine: str
) -> None:
    listed(monkeypatch, tmp_path, flags, machine)
    assert not cpu.complaint()


def test_a_system_that_does_not_list_cpu_features_is_accepted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    listed(monkeypatch, tmp_path, "")
    (tmp_path / "cpuinfo").write_text("processor\t: 0\n")
    assert not cpu.complaint()
    (tmp_path / "cpuinfo").unlink()
    assert not cpu.complaint()


@pytest.mark.parametrize(
    ("count", "shares"),
    [
        (1, [{2, 3, 5, 8, 9}]),
        (2, [{2, 3}, {5, 8, 9}]),
        (5, [{2}, {3}, {5}, {8}, {9}]),
        (6, []),  # too many: each keeps all
    ],
)
def test_pinned_processes_share_all_cores_in_adjacent_groups(
    monkeypatch: pytest.MonkeyPatch, count: int, shares: list[set[int]]
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {9, 2, 8, 3, 5})
    set_to: list[set[int]] = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cores: set_to.append(set(cores)))
    for index in range(count):
        cpu.pin(index, count)
    assert set_to == shares


def test_the_command_exits_with_one_line_on_an_unsupported_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    listed(monkeypatch, tmp_path, FIRST)
    monkeypatch.setattr(sys, "argv", ["lapsrn", "--version"])
    with pytest.raises(SystemExit, match="lapsrn: this CPU lacks cx16, popcnt"):
        cli.main()
