"""The limits of this process's control groups, of version 1 and 2, including nested ones (cgroups(7))."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

ROOT = Path("/")
"""The folder that contains /proc and /sys."""


def limit_files(controller: str, names: Mapping[int, Sequence[str]], root: Path = ROOT) -> Iterator[Path]:
    """Files that may contain limits of a controller, from this process's own group upwards; not all of them exist.

    `names` are the names of the files by version.
    """
    groups = dict(_groups(controller, root))
    for version, top, mount in _mounts(controller, root):
        path = groups.get(version)
        if path is None:
            continue
        folder, end = root / mount.relative_to("/"), root / mount.relative_to("/")
        if path.is_relative_to(top) and ".." not in path.parts:  # otherwise the group is outside this mount
            folder = end / path.relative_to(top)
        while True:
            yield from (folder / name for name in names[version])
            if folder == end:
                break
            folder = folder.parent


def cores_allowed(root: Path = ROOT) -> int | None:
    """The lowest CPU quota in cores, rounded up; None if no group limits it."""
    limits = []
    for file in limit_files("cpu", {1: ("cpu.cfs_quota_us",), 2: ("cpu.max",)}, root):
        quota, *period = " ".join(lines_of(file)).split() or ["max"]
        period = period or lines_of(file.with_name("cpu.cfs_period_us"))
        if quota.isdigit() and period and period[0].isdigit() and int(period[0]):  # "max" or -1: no limit
            limits.append(max(1, math.ceil(int(quota) / int(period[0]))))
    return min(limits, default=None)


def lines_of(path: Path) -> list[str]:
    """The file's lines; [] if it cannot be read."""
    try:
        return path.read_text().splitlines()
    except OSError:  # not Linux, or no /proc
        return []


def _groups(controller: str, root: Path) -> Iterator[tuple[int, PurePosixPath]]:
    """(version, this process's group) for each hierarchy that may have the controller."""
    for line in lines_of(root / "proc/self/cgroup"):
        number, controllers, path = line.split(":", 2)
        if number == "0" or controller in controllers.split(","):
            yield 2 if number == "0" else 1, PurePosixPath(path)


def _mounts(controller: str, root: Path) -> Iterator[tuple[int, PurePosixPath, PurePosixPath]]:
    """(version, mounted group, mount point) for each hierarchy that may have the controller (proc(5))."""
    for line in lines_of(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        top, mount = before.split()[3:5]
        kind, _, options = after.split()[:3]
        if kind == "cgroup2" or (kind == "cgroup" and controller in options.split(",")):
            yield 2 if kind == "cgroup2" else 1, PurePosixPath(top), PurePosixPath(mount)
