"""glibc's allocator: freed buffers are kept for the next batch, or returned to the system."""

import contextlib
import ctypes
import os
from collections.abc import Iterator

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # of mallopt(3)
_KEPT = 128 << 20
"""Bytes that each arena keeps at its end."""


def keep_freed_memory() -> None:
    """Tells glibc to keep freed buffers rather than return them: fresh pages cost more than the arithmetic.

    Every arena keeps its own, so there must not be many of them. What was freed before, as by a worker that died, is
    returned now.
    """
    libc = _glibc()
    if libc is None:  # slower, not wrong
        return
    libc.mallopt(_MMAP_THRESHOLD, 32 << 20)
    libc.mallopt(_TRIM_THRESHOLD, _KEPT)
    libc.mallopt(_ARENA_MAX, (os.cpu_count() or 1) + 2)
    libc.malloc_trim(0)


def return_freed_memory() -> None:
    """Returns to the system what is free at this moment."""
    if libc := _glibc():
        libc.malloc_trim(0)


@contextlib.contextmanager
def freed_memory_returned() -> Iterator[None]:
    """Memory that is freed in the block is returned to the system.

    Trimming afterwards is not enough: it does not reach what is free at the end of other arenas than the main one.
    """
    libc = _glibc()
    if libc is not None:
        libc.mallopt(_TRIM_THRESHOLD, 1 << 17)
    try:
        yield
    finally:
        if libc is not None:
            libc.malloc_trim(0)
            libc.mallopt(_TRIM_THRESHOLD, _KEPT)


def _glibc() -> ctypes.CDLL | None:
    """The C library, where it is glibc."""
    try:
        return ctypes.CDLL("libc.so.6")
    except OSError:
        return None
