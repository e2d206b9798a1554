"""Memory limits as the kernel shows them: both versions of control groups, nested, without a limit, and none."""

import os
import resource
from pathlib import Path

import pytest

from app.memory import available

MIB = 1 << 20
MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
V2 = "30 20 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
V1 = (
    "31 20 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
    "35 20 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)
V1_CONTAINER = "35 20 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
V2_CONTAINER = "30 20 0:26 /../.. /sys/fs/cgroup ro - cgroup2 cgroup rw\n"
HYBRID = V1 + "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
NO_LIMIT = str(9223372036854771712)


def tree(root: Path, groups: str, mounts: str, limits: dict[str, str]) -> Path:
    files = {"proc/self/cgroup": groups, "proc/self/mountinfo": mounts}
    for name, text in (files | {f"sys/fs/cgroup/{name}": f"{text}\n" for name, text in limits.items()}).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("groups", "mounts", "limits", "expected"),
    [
        ("0::/a/b\n", V2, {"a/b/memory.max": str(64 * MIB)}, ("a/b/memory.max", 64)),
        ("0::/a/b\n", V2, {"a/memory.max": str(64 * MIB), "a/b/memory.max": "max"}, ("a/memory.max", 64)),
        ("0::/a/b\n", V2, {"a/memory.max": str(9 * MIB), "a/b/memory.max": str(64 * MIB)}, ("a/memory.max", 9)),
        ("0::/a\n", V2, {"a/memory.max": str(64 * MIB), "a/memory.high": str(48 * MIB)}, ("a/memory.high", 48)),
        ("0::/\n", V2, {"memory.max": str(64 * MIB)}, ("memory.max", 64)),
        ("0::/../x\n", V2_CONTAINER, {"memory.max": str(64 * MIB)}, ("memory.max", 64)),
        ("0::/a\n", V2, {"a/memory.max": "max"}, None),
        (
            "5:cpu:/x\n4:memory:/a\n0::/\n",
            V1,
            {"memory/a/memory.limit_in_bytes": str(64 * MIB)},
            ("a/memory.limit", 64),
        ),
        ("4:cpu,memory:/a\n", V1, {"memory/a/memory.limit_in_bytes": str(64 * MIB)}, ("a/memory.limit", 64)),
        (
            "4:memory:/a/b\n",
            V1,
            {"memory/a/memory.limit_in_bytes": str(32 * MIB), "memory/a/b/memory.limit_in_bytes": NO_LIMIT},
            ("a/memory.limit", 32),
        ),
        ("4:memory:/a\n", V1, {"memory/a/memory.limit_in_bytes": NO_LIMIT}, None),
        (
            "4:memory:/docker/abc\n",
            V1_CONTAINER,
            {"memory/memory.limit_in_bytes": str(64 * MIB)},
            ("memory/memory.limit", 64),
        ),
        (
            "4:memory:/docker/abc\n0::/\n",
            HYBRID,
            {"memory/docker/abc/memory.limit_in_bytes": "4096"},
            ("abc/memory", 0),
        ),
        ("4:memory:/elsewhere\n", V1_CONTAINER, {"memory/memory.limit_in_bytes": str(64 * MIB)}, ("memory.limit", 64)),
        ("3:cpu:/a\n", V1, {}, None),
    ],
)
def test_the_lowest_limit_among_all_ancestor_groups_counts(
    tmp_path: Path, groups: str, mounts: str, limits: dict[str, str], expected: tuple[str, int] | None
) -> None:
    found = available(tree(tmp_path, groups, mounts, limits))
    if expected is None:
        assert (found.bytes, found.source) == (MACHINE, "this machine's memory")
    else:
        name, mebibytes = expected
        assert found.bytes // MIB == mebibytes
        assert name in found.source


def test_a_limit_above_the_memory_of_the_machine_is_ignored(tmp_path: Path) -> None:
    root = tree(tmp_path, "0::/a\n", V2, {"a/memory.max": str(MACHINE * 2)})
    assert available(root).bytes == MACHINE


def test_without_proc_the_memory_of_the_machine_counts(tmp_path: Path) -> None:
    assert available(tmp_path).bytes == MACHINE


@pytest.mark.parametrize("limit", ["AS", "DATA"])
def test_resource_limits_of_the_process_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """As batch systems and services set them; a picture that runs into one is an unexpected error."""
    numbers = {getattr(resource, f"RLIMIT_{limit}"): (64 * MIB, resource.RLIM_INFINITY)}
    no_limit = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda number: numbers.get(number, no_limit))
    found = available(tmp_path)
    assert (found.bytes, found.source) == (64 * MIB, f"the limit of ulimit -{'v' if limit == 'AS' else 'd'}")


def test_this_process_has_available_memory() -> None:
    assert 0 < available().bytes <= MACHINE
