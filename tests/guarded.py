"""Memory right at a page that nobody may touch, before it or behind it, for what is written in C."""

import ctypes
import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

PAGE, PROT_NONE = mmap.PAGESIZE, 0


def guarded(side: str, shape: Any, dtype: type = float) -> NDArray[Any]:
    """As np.empty, filled with ones, the guard page `before` or `behind` it."""
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    pages = -(-count // PAGE) + 1
    memory = mmap.mmap(-1, pages * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    guard = start if side == "before" else start + (pages - 1) * PAGE
    if ctypes.CDLL(None, use_errno=True).mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(PAGE), PROT_NONE):
        raise OSError(ctypes.get_errno(), "mprotect")
    offset = PAGE if side == "before" else (pages - 1) * PAGE - count
    array = np.frombuffer(memory, np.uint8, count, offset)
    array[:] = 0xFF
    return array.view(dtype).reshape(shape)
