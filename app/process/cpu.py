"""The CPU that this process runs on: whether it is one for numpy, and which of its cores are used."""

import os
import platform
from pathlib import Path

_V2 = {"cx16", "popcnt", "sse4_1", "sse4_2", "ssse3"}
"""What x86-64-v2 adds to the first x86-64, as Linux names it; numpy's wheels are compiled for it since 2.4."""
CAN_PIN = hasattr(os, "sched_setaffinity")
"""Whether this system can keep a process to some cores."""


def features() -> set[str] | None:
    """What Linux lists for this CPU, and permits; None where the system lists nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    return next((set(line.split()) for line in lines if line.startswith("flags")), None)


def complaint() -> str:
    """Why nothing can run on this CPU, and what to do; empty where it can, or where the system lists no features.

    On older CPUs numpy's wheels crash before they can say why.
    """
    listed = features()
    if listed is None or listed >= _V2 or platform.machine().lower() not in ("x86_64", "amd64"):
        return ""
    return (
        f"this CPU lacks {', '.join(sorted(_V2 - listed))}, which numpy needs (x86-64-v2). "
        "In a virtual machine, choose another CPU type, such as host or x86-64-v2."
    )


def pin(index: int, count: int) -> None:
    """Keeps this process, number `index` of `count`, to its share of the cores it has: neighbours, which share caches.

    Where there are fewer cores than processes it keeps all of them. To be called before threads start.
    """
    cores = sorted(os.sched_getaffinity(0))
    if count <= len(cores):
        os.sched_setaffinity(0, cores[index * len(cores) // count : (index + 1) * len(cores) // count])
