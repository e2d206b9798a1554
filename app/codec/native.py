"""The codec's sources in C, compiled when this is installed. Where they are not, numpy does the same, slower."""

import ctypes
from functools import cache
from pathlib import Path

import numpy as np

from app.process import cpu

FOLDER = Path(__file__).parent
# The fastest first, with what its CPU must have; the last is for all.
_V3 = {"abm", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"}
LIBRARIES = {"_native_avx2.so": _V3, "_native.so": set[str]()}


@cache
def library() -> ctypes.CDLL | None:
    """The compiled sources in C; None if they are not compiled, or not for this system."""
    features = _cpu_features()
    for name in (name for name, needed in LIBRARIES.items() if needed <= features):
        try:
            found = ctypes.CDLL(str(FOLDER / name))
            _declare(found)
        except (OSError, AttributeError):  # not for this system, or of other sources
            continue
        return found
    return None


def _declare(found: ctypes.CDLL) -> None:
    """Declares what its functions take. Raises AttributeError if one is missing."""
    size, address, real = ctypes.c_size_t, ctypes.c_void_p, ctypes.c_float
    found.png_filter_rows.argtypes = [address, address, size, size, size, address, size, address]
    found.huffman_deflate.argtypes, found.huffman_deflate.restype = [address, size, ctypes.c_int, address], size
    found.huffman_room.argtypes, found.huffman_room.restype = [size], size
    found.merge_rows.argtypes = [address, size, size, address]
    found.consistency_residual.argtypes = [address, size, real, real, size, size, address]
    found.grid_histograms.argtypes = [address, size, size, address, address, size, real, size, address]
    found.estimator_moments.argtypes = [address, address, size, address, size, address, address]
    found.grid_sums.argtypes = [address, size, size, size, address, address, size, address, address]


def kind() -> str:
    """What does the work: the library's name, or numpy."""
    found = library()
    return "numpy" if found is None else Path(found._name).stem.removeprefix("_")


def _cpu_features() -> set[str]:
    """As Linux lists them; elsewhere those that numpy finds."""
    listed = cpu.features()
    if listed is not None:
        return listed
    extensions = (np.show_config(mode="dicts") or {}).get("SIMD Extensions", {})
    found = {*extensions.get("baseline", ()), *extensions.get("found", ())}
    return _V3 if "X86_V3" in found else set()
