"""The memory that this process may use: the minimum of its control groups' limits, its own, and the machine's."""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.errors import StartupError
from app.process.control_groups import ROOT, limit_files, lines_of

with contextlib.suppress(ImportError):  # Windows has no such limits
    import resource

_UNLIMITED = 1 << 60
"""Version 1 reports "no limit" as the largest multiple of a page; no real limit is as large."""


@dataclass(frozen=True, slots=True)
class Available:
    """`bytes` is a limit on everything in the container together; `source` says what sets it."""

    bytes: int
    source: str


def available(root: Path = ROOT) -> Available:
    """The current limit, by control groups of version 1 and 2, including nested ones, and by the process's limits.

    `root` contains /proc and /sys.
    """
    machine = Available(_installed(), "this machine's memory")
    return min((*_group_limits(root), *_own_limits(), machine), key=lambda each: each.bytes)


class _MemoryStatus(ctypes.Structure):
    """Windows's MEMORYSTATUSEX."""

    _fields_ = [
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("physical", ctypes.c_uint64),
        ("others", ctypes.c_uint64 * 6),
    ]


def _installed() -> int:
    """The machine's memory in bytes."""
    if hasattr(os, "sysconf"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    status = _MemoryStatus(ctypes.sizeof(_MemoryStatus))
    if not ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):  # type: ignore[attr-defined]
        raise StartupError("Windows does not tell how much memory there is; set LAPSRN_MEMORY_BYTES")
    return int(status.physical)


def _group_limits(root: Path) -> Iterator[Available]:
    """The limits on this process, from its own group upwards."""
    for file in limit_files("memory", {1: ("memory.limit_in_bytes",), 2: ("memory.max", "memory.high")}, root):
        limit = _limit(file)
        if limit is not None:
            yield Available(limit, f"the container's limit in {'/' / file.relative_to(root)}")


def _own_limits() -> Iterator[Available]:
    """The limits on this process alone. They limit address space, which is somewhat larger than the memory in use."""
    if "resource" in globals():
        for number, name in ((resource.RLIMIT_AS, "ulimit -v"), (resource.RLIMIT_DATA, "ulimit -d")):
            limit = resource.getrlimit(number)[0]
            if limit != resource.RLIM_INFINITY:
                yield Available(limit, f"the limit of {name}")


def _limit(path: Path) -> int | None:
    """The limit in a file, in bytes; None without a file or a limit."""
    text = "".join(lines_of(path)).strip()
    return int(text) if text.isdigit() and int(text) < _UNLIMITED else None
