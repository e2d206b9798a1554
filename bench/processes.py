"""CPU time and memory of processes with all of their children, from /proc."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def children_of(process: int) -> list[int]:
    """The processes that it has started and that are still running."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in (_PROC / str(process) / "task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def family(*roots: int) -> list[int]:
    """These processes and all of their descendants that are still running, parents first."""
    found = list(roots)
    for process in found:
        found += children_of(process)
    return found


def cpu_seconds(processes: Iterable[int]) -> float:
    """User and system time so far, without that of processes that have ended."""
    total = 0
    for process in processes:
        with contextlib.suppress(OSError):
            stat = (_PROC / str(process) / "stat").read_text().rpartition(")")[2].split()
            total += int(stat[11]) + int(stat[12])
    return total / TICKS


def memory_mib(processes: Iterable[int]) -> float:
    """Resident memory; what several of them share is counted once."""
    total = 0
    for process in processes:
        with contextlib.suppress(OSError):
            lines = (_PROC / str(process) / "smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def command_of(process: int) -> str:
    """Its command line with spaces between the arguments; "" if it has ended."""
    try:
        return (_PROC / str(process) / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
