"""Memory of large planes: mapped on its own, so that rows which are no longer needed can be given back."""

import mmap

import numpy as np

from app.engine.ports import Plane

_LARGE = 32 << 20  # bytes; below, fresh pages cost more than they save


def new_plane(height: int, width: int) -> Plane:
    """Return an uninitialised plane; a large one takes up memory only where it is written to."""
    size = 4 * height * width
    if size < _LARGE:
        return np.empty((height, width), np.float32)
    return np.frombuffer(mmap.mmap(-1, size), np.float32).reshape(height, width)


def discard_rows(plane: Plane, first: int, last: int) -> None:
    """Give back the memory of rows [first, last), whose values are then undefined; only `new_plane`'s large ones do."""
    buffer = plane.base.base if isinstance(plane.base, np.ndarray) else None
    mapped = buffer.obj if isinstance(buffer, memoryview) else None
    if isinstance(mapped, mmap.mmap):
        page = mmap.PAGESIZE
        start, end = -(-first * plane.strides[0] // page) * page, last * plane.strides[0] // page * page
        if end > start:
            mapped.madvise(mmap.MADV_DONTNEED, start, end - start)
