"""What this CPU can do, as Linux tells."""

import ctypes
import platform
import sys
from functools import cache
from pathlib import Path

BASELINES = {"x86_64": {"sse2"}, "aarch64": {"asimd"}}
"""What every CPU of a kind has."""
AMX = {"amx_tile", "amx_bf16", "avx512_bf16"}
ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA = 158, 0x1023, 18
"""Of x86-64: arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)."""


def features() -> set[str]:
    """As Linux names them, and permits them; at least what every CPU of this kind has."""
    least = BASELINES.get(platform.machine(), set())
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return least
    return next((set(line.split()) for line in lines if line.startswith(("flags", "Features"))), set()) | least


@cache
def has_amx() -> bool:
    """Whether this CPU multiplies bfloat16 in AMX and the system lets this process do so."""
    return features() >= AMX and _may_use_tiles()


def _may_use_tiles() -> bool:
    """Ask Linux for the registers that AMX needs, for this process and all of its threads."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    syscall = ctypes.CDLL(None).syscall
    syscall.argtypes, syscall.restype = [ctypes.c_long] * 3, ctypes.c_long
    return bool(syscall(ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA) == 0)
