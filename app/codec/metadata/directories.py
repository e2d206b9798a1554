"""Image file directories, the structure of both EXIF and TIFF: reading with bounds checks, and writing.

Pillow's Exif class guesses types when it writes, and replaces all characters that are not ASCII. Here entries keep
their type and bytes; only numbers are converted, to little-endian. (TIFF 6.0, section 2; BigTIFF has wider fields.)
"""

import math
import struct
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import numpy as np

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, SIGNED_RATIONAL = 1, 2, 3, 4, 5, 7, 10
FLOAT, DOUBLE = 11, 12
_IFD, _LONG8, _IFD8 = 13, 16, 18
_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}  # bytes
_UNSIGNED = (BYTE, SHORT, LONG, _IFD, _LONG8, _IFD8)
_SIGNED = (6, 8, 9, 17)  # in which some writers put whole numbers, also where directories begin
_WORDS = _SIZES | {5: 4, 10: 4}  # a rational is two numbers
_MAX_ENTRIES = 65_535  # what a directory of classic TIFF can hold
_MAX_LONG = 2**32 - 1
HEADER = b"II*\0\x08\0\0\0"
"""Header of a little-endian structure whose first directory follows immediately."""


class Unreadable(ValueError):
    """The bytes are not in the expected format."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The value of a tag: the number of its type, the count, and the little-endian bytes."""

    kind: int
    count: int
    value: bytes

    def whole_number(self) -> int | None:
        """The first number if the type is an integer; else None."""
        if self.kind not in (*_UNSIGNED, *_SIGNED):
            return None
        return int.from_bytes(self.value[: _SIZES[self.kind]], "little", signed=self.kind in _SIGNED)

    def whole_numbers(self) -> list[int]:
        """All numbers of an unsigned integer type."""
        step = _SIZES[self.kind]
        return [int.from_bytes(self.value[at : at + step], "little") for at in range(0, len(self.value), step)]

    def fraction(self) -> Fraction | None:
        """The first number; None if it is not a finite number."""
        if self.kind in (RATIONAL, SIGNED_RATIONAL):
            above, below = struct.unpack_from("<II" if self.kind == RATIONAL else "<ii", self.value)
            return Fraction(above, below) if below else None
        if self.kind in (FLOAT, DOUBLE):
            (value,) = struct.unpack_from("<f" if self.kind == FLOAT else "<d", self.value)
            return Fraction(value) if math.isfinite(value) else None
        number = self.whole_number()
        return None if number is None else Fraction(number)


Directory: TypeAlias = "dict[int, Entry | Directory]"
"""Entries by tag; a nested directory stands in place of the pointer to it."""


def short(value: int) -> Entry:
    """An entry with one SHORT."""
    return Entry(SHORT, 1, struct.pack("<H", value))


def long(value: int) -> Entry:
    """An entry with one LONG."""
    return Entry(LONG, 1, struct.pack("<I", value))


def rational(value: Fraction) -> Entry:
    """An entry with one RATIONAL, the nearest to a non-negative value that two 32-bit numbers allow."""
    value = min(value, Fraction(_MAX_LONG))
    value = value.limit_denominator(max(1, _MAX_LONG // (int(value) + 1)))
    return Entry(RATIONAL, 1, struct.pack("<II", value.numerator, value.denominator))


class Structure:
    """Reads a TIFF structure. Raises Unreadable if the bytes have no valid header."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)
        head = bytes(self._data[:16])
        if head[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") or len(head) < 8:
            raise Unreadable("not a TIFF header")
        self._order = "<" if head[:2] == b"II" else ">"
        self._big = 43 in head[2:4]
        if self._big and len(head) < 16:
            raise Unreadable("the header is cut short")
        self.first: int = struct.unpack_from(self._order + ("Q" if self._big else "I"), head, 8 if self._big else 4)[0]
        """Offset of the first directory."""
        self.sound = True
        """Whether everything requested so far could be read."""
        # Values may overlap, so without a limit a small file could expand to gigabytes.
        self._budget = len(self._data)

    def directory(self, at: int, wanted: Callable[[int], bool]) -> dict[int, Entry]:
        """The wanted entries of the directory at offset `at` that can be read; of duplicate tags, the first.

        Raises Unreadable if there is no directory.
        """
        return {
            tag: Entry(kind, len(value) // _SIZES[kind], self._little_endian(value, kind))
            for tag, (kind, value) in self._values(at, wanted).items()
        }

    def blocks(self, wanted: Collection[int]) -> dict[int, bytes]:
        """Raw bytes of wanted tags in the first directory, whatever their type.

        Raises Unreadable if there is no directory.
        """
        return {tag: value for tag, (_, value) in self._values(self.first, wanted.__contains__).items()}

    def only(self, tags: Collection[int]) -> bytes:
        """The file with only these tags left in its first directory; the values of the others stay in place."""
        places, size = self._places(self.first), self._entry_size
        kept = [place for place in places if struct.unpack_from(self._order + "H", self._data, place)[0] in tags]
        if len(kept) == len(places):
            return bytes(self._data)
        data = bytearray(self._data)
        link = data[places.stop : places.stop + (8 if self._big else 4)]
        body = b"".join((*(data[place : place + size] for place in kept), link))
        struct.pack_into(self._order + ("Q" if self._big else "H"), data, self.first, len(kept))
        data[places.start : places.start + len(body)] = body
        return bytes(data)

    def _values(self, at: int, wanted: Callable[[int], bool]) -> dict[int, tuple[int, bytes]]:
        """Type and bytes of the entries that can be read, by tag."""
        found: dict[int, tuple[int, bytes]] = {}
        for place in self._places(at):
            tag, kind = struct.unpack_from(self._order + "HH", self._data, place)
            if wanted(tag) and tag not in found and (value := self._value(place, kind)):
                found[tag] = kind, value
        return found

    @property
    def _entry_size(self) -> int:
        return 20 if self._big else 12

    def _places(self, at: int) -> range:
        """Offsets of the entries in the directory at `at`, without those beyond the end of the data."""
        form = self._order + ("Q" if self._big else "H")
        start = at + struct.calcsize(form)
        if not at >= 8 or start > len(self._data):
            raise Unreadable("a directory lies outside of the data")
        promised = struct.unpack_from(form, self._data, at)[0]
        count = min(promised, _MAX_ENTRIES, (len(self._data) - start) // self._entry_size)
        self.sound &= count == promised
        return range(start, start + count * self._entry_size, self._entry_size)

    def _value(self, place: int, kind: int) -> bytes:
        """The bytes of an entry's value; empty if the count is 0, the type is unknown or they are not all there."""
        form = self._order + ("Q" if self._big else "I")
        room = struct.calcsize(form)
        size = struct.unpack_from(form, self._data, place + 4)[0] * _SIZES.get(kind, 0)
        at = place + 4 + room
        if size > room:
            at = struct.unpack_from(form, self._data, at)[0]
        if at + size > len(self._data) or size > self._budget:
            self.sound = False
            return b""
        self._budget -= size
        return bytes(self._data[at : at + size])

    def _little_endian(self, value: bytes, kind: int) -> bytes:
        word = _WORDS[kind]
        if self._order == "<" or word == 1:
            return value
        return np.frombuffer(value, f">u{word}").astype(f"<u{word}").tobytes()


def packed(directory: Mapping[int, "Entry | Directory"], at: int = len(HEADER)) -> bytes:
    """The directory with its values and nested directories, little-endian, for the even offset `at`."""
    where = at + 2 + 12 * len(directory) + 4
    entries, bodies = [struct.pack("<H", len(directory))], []
    for tag, item in sorted(directory.items()):
        if isinstance(item, Entry):
            kind, count, body = item.kind, item.count, item.value
        else:
            kind, count, body = LONG, 1, packed(item, where)
        if isinstance(item, Entry) and len(body) <= 4:
            entries.append(struct.pack("<HHI", tag, kind, count) + body.ljust(4, b"\0"))
            continue
        body += bytes(len(body) % 2)
        entries.append(struct.pack("<HHII", tag, kind, count, where))
        bodies.append(body)
        where += len(body)
    return b"".join((*entries, bytes(4), *bodies))
