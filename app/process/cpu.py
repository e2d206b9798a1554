"""The CPU that this process runs on: whether numpy supports it, and pinning to cores."""

import os
import platform
from pathlib import Path

_V2 = {"cx16", "popcnt", "sse4_1", "sse4_2", "ssse3"}
"""Features that x86-64-v2 adds to the x86-64 baseline, by their Linux names; numpy's wheels need them since 2.4."""
CAN_PIN = hasattr(os, "sched_setaffinity")
"""Whether this system can pin a process to cores."""


def features() -> set[str] | None:
    """The CPU features that Linux reports; None on systems without such a list."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    return next((set(line.split()) for line in lines if line.startswith("flags")), None)


def complaint() -> str:
    """Why this CPU is unsupported, and what to do; "" if it is supported, or the system does not list its features.

    On older CPUs, numpy's wheels crash without a message.
    """
    listed = features()
    if listed is None or listed >= _V2 or platform.machine().lower() not in ("x86_64", "amd64"):
        return ""
    return (
        f"this CPU lacks {', '.join(sorted(_V2 - listed))}, which numpy needs (x86-64-v2). "
        "In a virtual machine, choose another CPU type, such as host or x86-64-v2."
    )


def pin(index: int, count: int) -> None:
    """Pins this process, number `index` of `count`, to its share of the available cores: adjacent ones share caches.

    With fewer cores than processes, it has no effect. Call it before threads start.
    """
    cores = sorted(os.sched_getaffinity(0))
    if count <= len(cores):
        os.sched_setaffinity(0, cores[index * len(cores) // count : (index + 1) * len(cores) // count])
