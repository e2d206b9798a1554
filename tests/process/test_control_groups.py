"""How many cores the kernel lets the process have, as it shows that in both versions of control groups."""

from pathlib import Path

import pytest

from app import build
from app.process.control_groups import cores_allowed
from tests.memory.test_available import V1, V2, V2_CONTAINER, tree

V1_CPU = "31 20 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"


@pytest.mark.parametrize(
    ("groups", "mounts", "limits", "cores"),
    [
        ("0::/a\n", V2, {"a/cpu.max": "200000 100000"}, 2),
        ("0::/a\n", V2, {"a/cpu.max": "150000 100000"}, 2),
        ("0::/a\n", V2, {"a/cpu.max": "5000 100000"}, 1),
        ("0::/a\n", V2, {"a/cpu.max": "max 100000"}, None),
        ("0::/a/b\n", V2, {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3),
        ("0::/a/b\n", V2, {"a/cpu.max": "300000 100000", "a/b/cpu.max": "800000 100000"}, 3),
        ("0::/../x\n", V2_CONTAINER, {"cpu.max": "400000 100000"}, 4),
        ("5:cpu:/a\n0::/\n", V1, {"cpu/a/cpu.cfs_quota_us": "250000", "cpu/a/cpu.cfs_period_us": "100000"}, 3),
        ("5:cpu:/a\n0::/\n", V1, {"cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "100000"}, None),
        ("5:cpu:/a\n0::/\n", V1, {"cpu/a/cpu.cfs_quota_us": "250000"}, None),
        (
            "5:cpu,cpuacct:/\n",
            V1_CPU,
            {"cpu,cpuacct/cpu.cfs_quota_us": "100000", "cpu,cpuacct/cpu.cfs_period_us": "50000"},
            2,
        ),
        ("0::/a\n", V2, {}, None),
        ("", "", {}, None),
    ],
)
def test_the_lowest_cpu_limit_counts_rounded_up(
    tmp_path: Path, groups: str, mounts: str, limits: dict[str, str], cores: int | None
) -> None:
    assert cores_allowed(tree(tmp_path, groups, mounts, limits)) == cores


def test_there_are_as_many_workers_as_allowed_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.build.os.sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.setattr("app.build.sys.platform", "linux")
    monkeypatch.setattr("app.build.cores_allowed", lambda: None)
    assert build.cores() == 16
    monkeypatch.setattr("app.build.cores_allowed", lambda: 2)
    assert build.cores() == 2
    monkeypatch.setattr("app.build.cores_allowed", lambda: 64)
    assert build.cores() == 16
