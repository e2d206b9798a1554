"""Allocates planes; large ones as separate memory mappings, so that rows can be returned to the system early."""

import mmap

import numpy as np

from app.engine.ports import Plane

_LARGE = 32 << 20  # bytes; for smaller planes, page faults on fresh pages cost more than this saves


def new_plane(height: int, width: int) -> Plane:
    """An uninitialised plane; a large one takes up memory only where it is written to."""
    size = 4 * height * width
    if size < _LARGE:
        return np.empty((height, width), np.float32)
    return np.frombuffer(mmap.mmap(-1, size), np.float32).reshape(height, width)


class Outputs(list[dict[int, Plane]]):
    """The results of a request: for each of its planes, {level: plane}, from `new_plane`."""

    def release(self, level: int, rows: int) -> None:
        """Returns the memory of source rows [0, rows) at `level` to the system; their values are then undefined."""
        for planes in self:
            _discard_rows(planes[level], rows * level)


def _discard_rows(plane: Plane, last: int) -> None:
    """Returns the memory of rows [0, last) to the system if the plane is a separate mapping."""
    buffer = plane.base.base if isinstance(plane.base, np.ndarray) else None
    mapped = buffer.obj if isinstance(buffer, memoryview) else None
    if isinstance(mapped, mmap.mmap):
        page = mmap.PAGESIZE
        end = last * plane.strides[0] // page * page
        if end and hasattr(mapped, "madvise"):  # Windows has none; there, memory is freed with the whole plane
            mapped.madvise(mmap.MADV_DONTNEED, 0, end)
