"""Whether numpy runs on this CPU at all: on older ones its wheels crash before they can say why."""

import platform
from pathlib import Path

_V2 = {"cx16", "popcnt", "sse4_1", "sse4_2", "ssse3"}
"""What x86-64-v2 adds to the first x86-64, as Linux names it; numpy's wheels are compiled for it since 2.4."""


def features() -> set[str] | None:
    """What Linux lists for this CPU, and permits; None where the system lists nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    return next((set(line.split()) for line in lines if line.startswith("flags")), None)


def complaint() -> str:
    """Why nothing can run on this CPU, and what to do; empty where it can, or where the system lists no features."""
    listed = features()
    if listed is None or listed >= _V2 or platform.machine().lower() not in ("x86_64", "amd64"):
        return ""
    return (
        f"this CPU lacks {', '.join(sorted(_V2 - listed))}, which numpy needs (x86-64-v2). "
        "In a virtual machine, choose another CPU type, such as host or x86-64-v2."
    )
