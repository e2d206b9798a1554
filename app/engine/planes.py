"""Memory of large planes: mapped separately, so that rows that are no longer needed can be given back."""

import mmap

import numpy as np

from app.engine.ports import Plane

_LARGE = 32 << 20  # bytes; below, fresh pages cost more than they save


def new_plane(height: int, width: int) -> Plane:
    """An uninitialised plane; a large one takes up memory only where it is written to."""
    size = 4 * height * width
    if size < _LARGE:
        return np.empty((height, width), np.float32)
    return np.frombuffer(mmap.mmap(-1, size), np.float32).reshape(height, width)


class Outputs(list[dict[int, Plane]]):
    """For each plane of a request its results, {level: plane}, from `new_plane`."""

    def release(self, level: int, rows: int) -> None:
        """Gives back the memory of source rows [0, rows) at `level`, whose values are then undefined."""
        for planes in self:
            _discard_rows(planes[level], rows * level)


def _discard_rows(plane: Plane, last: int) -> None:
    """Gives back the memory of rows [0, last) of a plane that has a mapping of its own; others keep theirs."""
    buffer = plane.base.base if isinstance(plane.base, np.ndarray) else None
    mapped = buffer.obj if isinstance(buffer, memoryview) else None
    if isinstance(mapped, mmap.mmap):
        page = mmap.PAGESIZE
        end = last * plane.strides[0] // page * page
        if end and hasattr(mapped, "madvise"):  # Windows has none; there it is given back with the plane
            mapped.madvise(mmap.MADV_DONTNEED, 0, end)
