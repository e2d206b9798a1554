"""The memory that this process may use: the least of its control groups' limits and the machine's."""

import ctypes
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from app.errors import StartupError

_UNLIMITED = 1 << 60
"""Version 1 says "no limit" with the largest multiple of a page; nothing real is as large."""


@dataclass(frozen=True, slots=True)
class Available:
    """`bytes` is a limit on everything in the container together; `source` says what sets it."""

    bytes: int
    source: str


def available(root: Path = Path("/")) -> Available:
    """What the kernel says now, of control groups of version 1 and 2, nested ones included.

    `root` is where /proc and /sys are.
    """
    machine = Available(_installed(), "this machine's memory")
    return min((*_group_limits(root), machine), key=lambda each: each.bytes)


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of Windows."""

    _fields_ = [
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("physical", ctypes.c_uint64),
        ("others", ctypes.c_uint64 * 6),
    ]


def _installed() -> int:
    """Bytes that this machine has."""
    if hasattr(os, "sysconf"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    status = _MemoryStatus(ctypes.sizeof(_MemoryStatus))
    if not ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):  # type: ignore[attr-defined]
        raise StartupError("Windows does not tell how much memory there is; set LAPSRN_MEMORY_BYTES")
    return int(status.physical)


def _group_limits(root: Path) -> Iterator[Available]:
    """The limits on this process, from its own group upwards."""
    paths = dict(_groups(root))
    for kind, top, mount in _mounts(root):
        path = paths.get(kind)
        if path is None:
            continue
        folder, end = root / mount.relative_to("/"), root / mount.relative_to("/")
        if path.is_relative_to(top) and ".." not in path.parts:  # else it is a group outside of what is mounted here
            folder = end / path.relative_to(top)
        names = ("memory.max", "memory.high") if kind == "2" else ("memory.limit_in_bytes",)
        while True:
            for name in names:
                limit = _limit(folder / name)
                if limit is not None:
                    yield Available(limit, f"the container's limit in {'/' / (folder / name).relative_to(root)}")
            if folder == end:
                break
            folder = folder.parent


def _groups(root: Path) -> Iterator[tuple[str, PurePosixPath]]:
    """The version of each hierarchy that may limit memory, and this process's group in it (cgroups(7))."""
    for line in _lines(root / "proc/self/cgroup"):
        number, controllers, path = line.split(":", 2)
        if number == "0" or "memory" in controllers.split(","):
            yield "2" if number == "0" else "1", PurePosixPath(path)


def _mounts(root: Path) -> Iterator[tuple[str, PurePosixPath, PurePosixPath]]:
    """The version of each hierarchy that may limit memory, which of its groups is mounted, and where (proc(5))."""
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        top, mount = before.split()[3:5]
        kind, _, options = after.split()[:3]
        if kind == "cgroup2" or (kind == "cgroup" and "memory" in options.split(",")):
            yield "2" if kind == "cgroup2" else "1", PurePosixPath(top), PurePosixPath(mount)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:  # no Linux, or no /proc
        return []


def _limit(path: Path) -> int | None:
    """What the file says, in bytes; None where there is no file or no limit."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() and int(text) < _UNLIMITED else None
