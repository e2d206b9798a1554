"""The items of a HEIF file and their properties, as AVIF and HEIC have them. (ISO/IEC 23008-12; 14496-12, 8.11.)"""

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from itertools import chain, count, islice

from app.codec.boxes import bounded, boxes
from app.codec.code_points import CodePoints, as_shown, metadata_of
from app.codec.types import Metadata

Properties = Mapping[bytes, memoryview]
"""The properties of an item, by the type of their box."""

HEADERS = 65536
"""Bytes of a coded picture that hold its headers."""
_NOTHING = memoryview(b"")
_MOST_ITEMS = 4096
_MOST_NESTED = 4
IN_IDAT = 1
"""Of `located`: offsets refer to the box idat."""
CANDELA = 10_000  # units of Metadata.light
MASTERING, LIGHT = struct.Struct(">8H2I"), struct.Struct(">2H")
"""`mdcv`: x and y of green, blue, red and white, and luminances; `clli`: cd/m². (ISO/IEC 14496-12, 12.1.6, 12.1.7.)"""


class Items:
    """What the box `meta` says; whatever is missing or makes no sense is empty."""

    def __init__(self, data: bytes) -> None:
        meta = next((body[4:] for kind, body in boxes(memoryview(data)) if kind == b"meta"), _NOTHING)
        self._parts = dict(boxes(meta))

    @cached_property
    def primary_id(self) -> int:
        """The number of the primary picture; 0 if there is none."""
        pitm = self._parts.get(b"pitm", _NOTHING)
        return int.from_bytes(pitm[4 : 8 if pitm[0] else 6], "big") if pitm else 0

    @property
    def primary(self) -> Properties:
        """The properties of the primary picture."""
        return self.properties(self.primary_id)

    def properties(self, item: int) -> Properties:
        """Those of an item."""
        associations, known = self._properties
        return dict(known[index - 1] for index in associations.get(item, ()) if 0 < index <= len(known))

    @cached_property
    def _properties(self) -> tuple[Mapping[int, list[int]], list[tuple[bytes, memoryview]]]:
        """What the boxes `ipma`, of which there may be one of each form, say of each item, and the properties."""
        inner = list(boxes(self._parts.get(b"iprp", _NOTHING)))
        known = dict(inner).get(b"ipco", _NOTHING)
        found: dict[int, list[int]] = {}
        entries = chain.from_iterable(_associated(body) for kind, body in inner if kind == b"ipma")
        for item, indices in bounded(entries):
            found.setdefault(item, []).extend(indices)
        return found, list(boxes(known))

    @cached_property
    def _sources(self) -> dict[int, tuple[int, ...]]:
        """What each derived picture, such as a grid, is made of: the numbers of the items, in order."""
        iref = self._parts.get(b"iref", _NOTHING)
        wide = 4 if len(iref) > 4 and iref[0] else 2
        found = {}
        for kind, body in boxes(iref[4:]):
            count = int.from_bytes(body[wide : wide + 2], "big")
            numbers = (int.from_bytes(body[at : at + wide], "big") for at in range(wide + 2, len(body), wide))
            if kind == b"dimg":
                found[int.from_bytes(body[:wide], "big")] = tuple(islice(numbers, count))
        return found

    @property
    def first_id(self) -> int:
        """The number of the primary picture or, if that is made of others, of the first of those."""
        item = self.primary_id
        for _ in range(_MOST_NESTED):
            item = next(iter(self._sources.get(item, ())), item)
        return item

    def beginning(self, data: bytes, most: int) -> bytes:
        """Up to `most` first bytes of the coded picture `first_id`.

        `data` is the file. Empty where that is not to be found. (ISO/IEC 14496-12, 8.11.3.)
        """
        method, extents = located(self._parts.get(b"iloc", _NOTHING)).get(self.first_id, (0, []))
        if not extents:
            return b""
        source = self._parts.get(b"idat", _NOTHING) if method == IN_IDAT else memoryview(data)
        start, length = extents[0]
        return bytes(source[start : start + min(length or most, most)])

    def coded(self) -> tuple[int, int]:
        """How many coded pictures the primary one is made of, and the pixels of all of them by their headers.

        A grid may name one picture many times, and each is decoded. More than 4,096 are not counted.
        """
        left, count, pixels = [self.primary_id], 0, 0
        seen = 0
        while left and seen <= _MOST_ITEMS:
            item = left.pop()
            seen += 1
            inner = self._sources.get(item)
            if inner:
                left += inner[: _MOST_ITEMS + 1]
                continue
            height, width = size(self.properties(item))
            count, pixels = count + 1, pixels + height * width
        return (count, pixels) if not left else (seen, pixels)


def located(iloc: memoryview) -> dict[int, tuple[int, list[tuple[int, int]]]]:
    """What the box says by item: what offsets refer to (the file, or the box idat), and (offset, size) of each extent.

    Stops at the end of the box, whatever counts it states. Raises UndecodablePicture if there are very many extents.
    """
    if len(iloc) < 8:
        return {}
    version = iloc[0]
    offset_size, length_size, base_size = iloc[4] >> 4, iloc[4] & 15, iloc[5] >> 4
    index_size = iloc[5] & 15 if version else 0
    wide = 4 if version == 2 else 2
    at = 6

    def number(size: int) -> int:
        nonlocal at
        at += size
        return int.from_bytes(iloc[at - size : at], "big")

    places = {}
    steps = bounded(count())  # extents that are said to take no bytes come to no end
    for _ in range(number(wide)):
        if at >= len(iloc):
            break
        next(steps)
        item = number(wide)
        method = number(2) & 15 if version else 0
        number(2)  # data reference index
        base = number(base_size)
        extents = []
        for _ in range(number(2)):
            if at >= len(iloc):
                break
            next(steps)
            number(index_size)
            extents.append((base + number(offset_size), number(length_size)))
        places[item] = (method, extents)
    return places


def size(own: Properties) -> tuple[int, int]:
    """(height, width) of `ispe`, before any transformation; zeros if there is no such box."""
    box = own.get(b"ispe", _NOTHING)
    if len(box) < 12:
        return 0, 0
    width, height = struct.unpack_from(">II", box, 4)
    return height, width


def colors(own: Properties, gray: bool, coded: Callable[[], CodePoints | None]) -> Metadata:
    """What `colr` says by code points (ITU-T H.273), or else the coded picture, with `mdcv` and `clli`."""
    box = own.get(b"colr", _NOTHING)
    boxed = bytes(box[:4]) == b"nclx" and len(box) >= 11
    points = CodePoints(*struct.unpack_from(">HH", box, 4)) if boxed else coded()
    found = metadata_of(None if points is None else as_shown(points), gray)
    if found.cicp is None:
        return Metadata()  # sRGB is what is assumed without any word
    mastering, light = own.get(b"mdcv", _NOTHING), own.get(b"clli", _NOTHING)
    if len(mastering) >= MASTERING.size:
        *green_blue, red_x, red_y, white_x, white_y, most, least = MASTERING.unpack_from(mastering)
        found = replace(found, mastering=(red_x, red_y, *green_blue, white_x, white_y, most, least))
    if len(light) >= LIGHT.size:
        pixel, frame = LIGHT.unpack_from(light)
        found = replace(found, light=(pixel * CANDELA, frame * CANDELA))
    return found


def is_transformed(own: Properties) -> bool:
    """Whether the item is turned or mirrored by its properties."""
    return b"irot" in own or b"imir" in own


def orientation(own: Properties) -> int:
    """What `irot` (anticlockwise quarter turns) and then `imir` amount to, as an EXIF orientation 1..8."""
    turns = own[b"irot"][0] & 3 if own.get(b"irot") else 0
    turned = (1, 8, 3, 6)[turns]
    if not own.get(b"imir"):
        return turned
    # Exchanging top and bottom (axis 0) or left and right (axis 1) after the turn.
    return {1: (4, 2), 8: (5, 7), 3: (2, 4), 6: (7, 5)}[turned][own[b"imir"][0] & 1]


def _associated(ipma: memoryview) -> Iterator[tuple[int, list[int]]]:
    """Items, and numbers, from 1, of their properties."""
    id_size, index_size = (4 if ipma[0] else 2), (2 if ipma[3] & 1 else 1)
    at = 8
    while at + id_size < len(ipma):
        found, count = int.from_bytes(ipma[at : at + id_size], "big"), ipma[at + id_size]
        at += id_size + 1
        end = at + count * index_size
        # The highest bit says that the property is essential.
        essential = (1 << 8 * index_size - 1) - 1
        starts = range(at, end, index_size)
        yield found, [int.from_bytes(ipma[start : start + index_size], "big") & essential for start in starts]
        at = end
