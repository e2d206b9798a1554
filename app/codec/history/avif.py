"""The quality of an AVIF, from the quantiser of its first AV1 frame."""

from collections.abc import Iterator

from app.codec.boxes import boxes
from app.codec.history import av1

_HEADERS = 65536  # bytes that hold those of a frame
_IDAT = 1  # construction method: the data is in the box `idat`


def quality_of(data: bytes) -> int | None:
    """0 to 100, as libavif maps it linearly to the quantiser; None if it is lossless or not to be read."""
    try:
        index = next(filter(None, map(av1.base_quantizer, _coded(data))), 0)
    except (IndexError, ValueError):
        return None
    return round(100 * (1 - index / av1.COARSEST)) if index else None


def _coded(data: bytes) -> Iterator[bytes]:
    """The data of the primary picture or, if that is a grid of others, of the first of those."""
    meta = next((body[4:] for kind, body in boxes(memoryview(data)) if kind == b"meta"), memoryview(b""))
    parts = dict(boxes(meta))
    pitm = parts.get(b"pitm", memoryview(b""))
    primary = _number(pitm, 4, 2 if pitm[0] == 0 else 4)
    first = next((item for item in _parts_of(parts.get(b"iref"), primary)), primary)
    yield from _extents(parts.get(b"iloc", memoryview(b"")), first, data, parts.get(b"idat", memoryview(b"")))


def _parts_of(iref: memoryview | None, item: int) -> Iterator[int]:
    """The items that an item is put together from (`dimg`)."""
    if iref is None:
        return
    size = 2 if iref[0] == 0 else 4
    for kind, body in boxes(iref[4:]):
        if kind == b"dimg" and _number(body, 0, size) == item:
            for i in range(_number(body, size, 2)):
                yield _number(body, size + 2 + i * size, size)


def _extents(iloc: memoryview, wanted: int, data: bytes, idat: memoryview) -> Iterator[bytes]:
    """The first bytes of an item's first extent. (ISO/IEC 14496-12, 8.11.3.)"""
    version = iloc[0]
    offset_size, length_size, base_size = iloc[4] >> 4, iloc[4] & 15, iloc[5] >> 4
    index_size = iloc[5] & 15 if version in (1, 2) else 0
    id_size = 2 if version < 2 else 4
    count, at = _number(iloc, 6, id_size), 6 + id_size
    for _ in range(count):
        item, at = _number(iloc, at, id_size), at + id_size
        method = 0
        if version in (1, 2):
            method, at = _number(iloc, at, 2) & 15, at + 2
        base, at = _number(iloc, at + 2, base_size), at + 2 + base_size
        extents, at = _number(iloc, at, 2), at + 2
        if item == wanted and extents:
            start = base + _number(iloc, at + index_size, offset_size)
            length = _number(iloc, at + index_size + offset_size, length_size) or _HEADERS
            yield bytes((idat if method == _IDAT else memoryview(data))[start : start + min(length, _HEADERS)])
            return
        at += extents * (index_size + offset_size + length_size)


def _number(data: memoryview, at: int, size: int) -> int:
    """Raises IndexError where the data ends before."""
    if at + size > len(data):
        raise IndexError(at)
    return int.from_bytes(data[at : at + size], "big")
