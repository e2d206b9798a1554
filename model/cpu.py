"""What this CPU can do, according to Linux or, failing that, numpy."""

import ctypes
import platform
import sys
from functools import cache
from pathlib import Path

import numpy as np

BASELINES = {"x86_64": {"sse2"}, "aarch64": {"asimd"}}
"""What every CPU of an architecture has."""
_OTHER_NAMES = {"amd64": "x86_64", "arm64": "aarch64"}  # of Windows and macOS
V3 = frozenset({"abm", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"})
"""What x86-64-v3 adds, of which avx2 is the best known."""
V4 = V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
_LEVELS = {"X86_V3": V3, "X86_V4": V4}  # as numpy names them
AMX = {"amx_tile", "amx_bf16", "avx512_bf16"}
ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA = 158, 0x1023, 18
"""Of x86-64: arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)."""


def features() -> set[str]:
    """The features that the system permits, as Linux names them; at least those of every CPU of this architecture.

    Where Linux does not list them, numpy does: on other systems, and where x86-64 is translated for ARM, as
    /proc/cpuinfo then lists the features of the ARM CPU.
    """
    machine = platform.machine().lower()
    machine = _OTHER_NAMES.get(machine, machine)
    least = BASELINES.get(machine, set())
    start = "Features" if machine == "aarch64" else "flags"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(set(line.split()) for line in lines if line.startswith(start)) | least
    except (OSError, StopIteration):
        return least.union(*(_LEVELS[name] for name in _numpy_extensions() if name in _LEVELS))


def _numpy_extensions() -> list[str]:
    """numpy asks the CPU, and whether the system saves the registers; for systems without /proc."""
    config = np.show_config(mode="dicts") or {}
    extensions = config.get("SIMD Extensions", {})
    return [*extensions.get("baseline", ()), *extensions.get("found", ())]


@cache
def has_amx() -> bool:
    """Whether this CPU multiplies bfloat16 in AMX and the system lets this process do so."""
    return features() >= AMX and _may_use_tiles()


def _may_use_tiles() -> bool:
    """Asks Linux for the registers that AMX needs, for this process and all of its threads."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    syscall = ctypes.CDLL(None).syscall
    syscall.argtypes, syscall.restype = [ctypes.c_long] * 3, ctypes.c_long
    return bool(syscall(ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA) == 0)
