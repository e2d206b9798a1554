"""glibc's allocator: freed buffers are kept for the next batch, or returned to the system."""

import contextlib
import ctypes
import os
from collections.abc import Iterator

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # of mallopt(3)
_KEPT = 128 << 20
"""Bytes that each arena keeps at its end."""


def keep_freed_memory() -> None:
    """Tells glibc to keep freed buffers rather than hand them back: fresh pages cost more than the arithmetic.

    What is kept is kept per arena, so there must not be many of them. What others left behind, such as a worker that
    died, goes back now.
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
    """What is freed in the block goes back to the system.

    To trim it afterwards is not enough: that leaves out what is free at the end of every arena but the main one.
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
