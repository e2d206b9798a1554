"""glibc's allocator: freed buffers are kept for the next batch, or returned to the system."""

import ctypes
import os


def keep_freed_memory() -> None:
    """Tell glibc to keep freed buffers rather than hand them back: fresh pages cost more than the arithmetic.

    What is kept is kept per arena, so there must not be many of them. What others left behind, such as a worker that
    died, goes back now.
    """
    libc = _glibc()
    if libc is None:  # slower, not wrong
        return
    trim_threshold, mmap_threshold, arena_max = -1, -3, -8
    libc.mallopt(mmap_threshold, 32 << 20)
    libc.mallopt(trim_threshold, 128 << 20)
    libc.mallopt(arena_max, (os.cpu_count() or 1) + 2)
    libc.malloc_trim(0)


def return_freed_memory() -> None:
    """Return to the system what is free at this moment."""
    if libc := _glibc():
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The C library, where it is glibc."""
    try:
        return ctypes.CDLL("libc.so.6")
    except OSError:
        return None
