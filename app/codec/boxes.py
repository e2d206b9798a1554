"""Boxes of ISO base media files, such as AVIF. (ISO/IEC 14496-12, section 4.2.)"""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from app.errors import UndecodablePicture

_MOST = 65_536  # writers make a few for each picture in the file; walking through millions takes long
_Entry = TypeVar("_Entry")


def boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and body of each box. Raises UndecodablePicture if there are more than any writer makes."""
    return bounded(_boxes(data))


def bounded(entries: Iterable[_Entry]) -> Iterator[_Entry]:
    """The same entries, of a box or of a table in one. Raises UndecodablePicture if they are very many."""
    for number, entry in enumerate(entries):
        if number == _MOST:
            raise UndecodablePicture(
                f"The file has more than {_MOST:,} boxes, or entries in one of them. Save it again."
            )
        yield entry


def _boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    at = 0
    while at + 8 <= len(data):
        size, head = int.from_bytes(data[at : at + 4], "big"), 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        end = at + size if size else len(data)
        if end < at + head:
            return
        yield bytes(data[at + 4 : at + 8]), data[at + head : end]
        at = end
