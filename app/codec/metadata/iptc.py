"""IPTC-IIM: filters data sets, and packs them into the Photoshop image resources that JPEG and PNG keep them in."""

import struct
from collections.abc import Iterator

from app.codec.metadata.directories import Unreadable
from app.codec.metadata.exif import Choice

MAX_BYTES = 1 << 20
_MARK = 0x1C
_RESOURCE = 0x0404  # Photoshop's number for IPTC
_MAX_RESOURCES = 4096  # writers make a few dozen
# Record 1: the character set. Record 2: version, title, urgency, dates, author, headline, credit, copyright, caption.
_KEPT = frozenset(
    (
        *((1, number) for number in (0, 90)),
        *((2, number) for number in (0, 5, 10, 55, 60, 62, 63, 80, 85, 105, 110, 115, 116, 120, 122)),
    )
)
# Records from 3 up describe or contain image data; the preview is in record 2.
_RECORDS, _PREVIEW = (1, 2), ((2, 200), (2, 201), (2, 202))
_VERSION = (2, 0)


def kept(data: bytes, choice: Choice) -> bytes | None:
    """The data sets that are kept, unchanged; None if there are none. Raises Unreadable.

    "keep" keeps title, caption, author, credit, copyright and dates, but no places, no contacts, and no keywords, since
    many programs put place names among them.
    """
    sets = list(_data_sets(data))
    if not sets:
        raise Unreadable("no data set")
    wanted = [
        (key, body)
        for key, body in sets
        if (key in _KEPT if choice == "keep" else key[0] in _RECORDS and key not in _PREVIEW)
    ]
    has_content = any(key > _VERSION for key, _ in wanted)
    return b"".join(body for _, body in wanted) if has_content else None


def _data_sets(data: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    """Record and number of each data set, and its bytes including the header, up to the first invalid one."""
    at = 0
    while at + 5 <= len(data) and data[at] == _MARK:
        record, number, size = struct.unpack_from(">BBH", data, at + 1)
        start = at + 5
        if size & 0x8000:  # the size of the size
            start += size & 0x7FFF
            size = int.from_bytes(data[at + 5 : start], "big") if start <= at + 9 else len(data)
        if start + size > len(data):
            return
        yield (record, number), data[at : start + size]
        at = start + size


def from_resources(data: bytes) -> bytes | None:
    """The IPTC data sets among Photoshop image resources; None if there are none."""
    at = 0
    for _ in range(_MAX_RESOURCES):
        if data[at : at + 4] != b"8BIM" or at + 12 > len(data):
            break
        number = int.from_bytes(data[at + 4 : at + 6], "big")
        start = at + 6 + (data[at + 6] + 2) // 2 * 2  # after a Pascal string, padded to an even length
        size = int.from_bytes(data[start : start + 4], "big")
        if number == _RESOURCE:
            return data[start + 4 : start + 4 + size]
        at = start + 4 + (size + 1) // 2 * 2
    return None


def as_resource(data: bytes) -> bytes:
    """IPTC data sets as a Photoshop image resource."""
    return b"8BIM" + struct.pack(">HHI", _RESOURCE, 0, len(data)) + data + bytes(len(data) % 2)
