"""A PNG file as its chunks: header, checksums, what can be saved of a damaged one. (PNG, third edition, clause 5.)"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, takewhile

from isal import igzip_lib, isal_zlib

from app.codec.deflate import inflated
from app.errors import UndecodablePicture

_CRITICAL, _ONCE = (b"IHDR", b"PLTE", b"IDAT", b"IEND"), (b"IHDR", b"PLTE")
_APPLE = b"CgBI"
_OPTIONAL = 0x20  # a bit of a name's first byte: that of a lower-case letter
COLOR = (b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"mDCV", b"cLLI")
# What is not needed for decoding has a lower-case first letter; but pixels or frames are missing without these.
_NEEDED = (b"tRNS", b"acTL", b"fcTL", b"fdAT")
_FEW_NAMES = 16  # of chunks, which end in a header of the answer
_MAX_CHUNKS = 65_536  # writers make a few thousand of a large picture; walking through millions takes long
_LEAST = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9}  # bytes that a chunk has by clause 11.3
_STEP_IN, _STEP_OUT = 1 << 16, 1 << 20  # bytes at a time where they are only counted
SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ZLIB_HEADER = 2  # bytes before the deflated data (RFC 1950)
_PALETTE = 3  # the colour type
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
# Clause 8.2, the seven passes of Adam7: first column, first row, column step, row step.
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


@dataclass(frozen=True, slots=True)
class Header:
    """What IHDR says."""

    height: int
    width: int
    depth: int
    color_type: int
    interlaced: bool

    @property
    def pixel_bits(self) -> int:
        """Bits of a pixel; of a palette, of its index."""
        return self.depth * _CHANNELS[self.color_type]

    def row_bytes(self, columns: int) -> int:
        """Bytes of a row of so many pixels, without its filter byte."""
        return (columns * self.pixel_bits + 7) // 8

    @property
    def raw_size(self) -> int:
        """Bytes of the inflated picture data, filter bytes included."""
        passes = _ADAM7 if self.interlaced else ((0, 0, 1, 1),)
        total = 0
        for left, top, step_x, step_y in passes:
            columns, rows = -(-(self.width - left) // step_x), -(-(self.height - top) // step_y)
            if columns > 0 and rows > 0:
                total += rows * (1 + self.row_bytes(columns))
        return total


@dataclass(frozen=True, slots=True)
class Chunk:
    """`sound`: whole, and its checksum is right."""

    kind: bytes
    body: memoryview
    sound: bool


def chunk(kind: bytes, *parts: bytes) -> bytes:
    """A chunk ready to be written."""
    return b"".join(chunk_parts(kind, *parts))


def chunk_parts(kind: bytes, *parts: bytes) -> tuple[bytes, ...]:
    """The same in pieces, so that a large one is not copied."""
    checksum = isal_zlib.crc32(kind)
    for part in parts:
        checksum = isal_zlib.crc32(part, checksum)
    return struct.pack(">I", sum(map(len, parts))), kind, *parts, struct.pack(">I", checksum)


def chunks(data: bytes) -> Iterator[Chunk]:
    """The chunks up to and with IEND, or up to where the file ends; the last one may be cut short.

    Raises UndecodablePicture if there are more than any writer makes.
    """
    view, at = memoryview(data), len(SIGNATURE)
    for _ in range(_MAX_CHUNKS):
        if at + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, at)
        body = view[at + 8 : at + 8 + length]
        end = at + 8 + length
        stored = data[end : end + 4]
        sound = len(stored) == 4 and isal_zlib.crc32(body, isal_zlib.crc32(kind)) == int.from_bytes(stored, "big")
        yield Chunk(kind, body, sound)
        if kind == b"IEND":
            return
        at = end + 4
    raise UndecodablePicture(f"The PNG has more than {_MAX_CHUNKS:,} chunks. Save it again.")


def header(data: bytes) -> Header:
    """What IHDR says; UndecodablePicture if it is not there or says what no PNG can be."""
    first = next(chunks(data), None)
    if first is not None and first.kind == _APPLE:
        raise UndecodablePicture(
            "The PNG is in Apple's own variant (CgBI), as apps for iOS contain it, which is not a standard PNG. "
            "Convert it with `pngcrush -revert-iphone-optimizations`, or save it again from a program that shows it."
        )
    if first is None or first.kind != b"IHDR" or len(first.body) != 13 or not first.sound:
        raise UndecodablePicture(
            "The PNG's header chunk (IHDR) is missing, cut short or has a wrong checksum. Send the whole, undamaged "
            "file."
        )
    width, height, depth, color_type, compression, filtering, interlace = struct.unpack(">IIBBBBB", first.body)
    if depth not in _DEPTHS.get(color_type, ()) or compression or filtering or interlace > 1:
        raise UndecodablePicture(
            f"The PNG's header is invalid: no PNG has depth {depth}, colour type {color_type}, compression "
            f"{compression}, filter method {filtering} and interlace method {interlace}. Save it again."
        )
    if not (0 < width < 2**31 and 0 < height < 2**31):
        raise UndecodablePicture(f"The PNG's header is invalid: {width} x {height} pixels. Save it again.")
    return Header(height, width, depth, color_type, bool(interlace))


def transparent_color(data: bytes, head: Header) -> tuple[int, ...]:
    """The gray or the red, green and blue that tRNS makes transparent, as they stand there; () without one."""
    body = next((item.body for item in chunks(data) if item.kind == b"tRNS"), b"")
    count = {0: 1, 2: 3}.get(head.color_type, 0)
    return struct.unpack_from(f">{count}H", body) if len(body) >= 2 * count else ()


def before_data(data: bytes) -> Iterator[Chunk]:
    """The chunks before the first IDAT."""
    return takewhile(lambda item: item.kind != b"IDAT", chunks(data))


def fault(data: bytes) -> str | None:
    """The first thing wrong with the file's structure, in words, or None."""
    kinds: list[bytes] = []
    for item in chunks(data):
        name = item.kind.decode("latin-1")
        if not item.sound:
            return f"chunk {name!r} is cut short or has a wrong checksum"
        if item.kind not in _CRITICAL and not item.kind[0] & _OPTIONAL:
            return f"chunk {name!r} is unknown, and its name says that the picture cannot be shown without it"
        if item.kind in _ONCE and item.kind in kinds:
            return f"it has more than one chunk {name!r}"
        kinds.append(item.kind)
    if b"IDAT" not in kinds:
        return "it has no picture data (IDAT)"
    if kinds[-1] != b"IEND":
        return "it ends before its end mark (IEND)"
    head = header(data)
    if head.color_type == _PALETTE and b"PLTE" not in kinds[: kinds.index(b"IDAT")]:
        return "it has no palette (PLTE) before its picture data"
    return short(data, head)


def short(data: bytes, head: Header) -> str | None:
    """That the picture data inflates to too little for `head`, which Pillow takes for rows of zeros; or None."""
    count = _inflated_size((item.body for item in chunks(data) if item.kind == b"IDAT"), head.raw_size)
    return None if count >= head.raw_size else f"its picture data ends after {count:,} of {head.raw_size:,} bytes"


def _inflated_size(pieces: Iterable[memoryview | bytes], most: int) -> int:
    """How many bytes the pieces of a stream inflate to without error, counted up to `most`."""
    inflater, count = isal_zlib.decompressobj(), 0
    steps = (piece[at : at + _STEP_IN] for piece in pieces for at in range(0, len(piece), _STEP_IN))
    try:
        for out in chain.from_iterable(inflated(inflater, step, _STEP_OUT) for step in steps):
            count += len(out)
            if count >= most:
                break
    except igzip_lib.IsalError:  # type: ignore[misc]  # the stubs do not say that it is an exception
        return count
    return count


def usable(data: bytes) -> tuple[bytes, list[str], list[str]]:
    """The PNG without those whole chunks that count for nothing; a few names of damaged ones, and of misplaced ones.

    Damaged: the checksum is wrong or it is too short, and pixels can do without. Misplaced: colours or transparency
    behind the picture's data, which they have to precede (5.6), or said a second time; viewers go by what they know
    when they begin.
    """
    kept, at, seen = [SIGNATURE], len(SIGNATURE), set[bytes]()
    damaged, misplaced = dict[str, None](), dict[str, None]()
    for item in chunks(data):
        end = at + 12 + len(item.body)
        ancillary = item.kind.isalpha() and item.kind[:1].islower() and item.kind not in _NEEDED
        late = item.kind in (*COLOR, b"tRNS") and not seen.isdisjoint((b"IDAT", item.kind))
        sound = item.sound and len(item.body) >= _LEAST.get(item.kind, 0)
        if end <= len(data) and (late or (ancillary and not sound)):
            (misplaced if late else damaged)[item.kind.decode("ascii")] = None
        else:
            seen.add(item.kind)
            kept.append(data[at:end])
        at = end
    if not damaged and not misplaced:
        return data, [], []
    return b"".join((*kept, data[at:])), list(damaged)[:_FEW_NAMES], list(misplaced)


def repaired(data: bytes) -> bytes:
    """A whole PNG from a damaged one: the rows that inflate, then zeros.

    UndecodablePicture if not even one does, or if the palette that they refer to does not precede them.
    """
    head = header(data)
    if head.color_type == _PALETTE and not any(item.kind == b"PLTE" and item.sound for item in before_data(data)):
        raise UndecodablePicture("The PNG has no palette (PLTE) before its picture data, so its colours are not known.")
    kept, compressed, seen = [], [], {b"IEND", b"acTL", b"fcTL", b"fdAT"}
    for item in chunks(data):
        if item.kind == b"IDAT":
            compressed.append(bytes(item.body))
        elif item.sound and item.kind not in seen and (item.kind in _CRITICAL or item.kind[0] & _OPTIONAL):
            kept.append(chunk(item.kind, bytes(item.body)))
            seen |= {item.kind} & {*_ONCE}
    raw = _inflated(b"".join(compressed), head.raw_size)
    if not raw:
        raise UndecodablePicture("The PNG holds no picture data that can be read. Send the whole, undamaged file.")
    raw += bytes(head.raw_size - len(raw))
    return b"".join((SIGNATURE, *kept, chunk(b"IDAT", isal_zlib.compress(raw, 0)), chunk(b"IEND")))


def _inflated(compressed: bytes, size: int) -> bytes:
    """As much as inflates without error, at most `size` bytes, whatever the stream's header and checksum say."""
    inflater, parts, have = isal_zlib.decompressobj(-isal_zlib.MAX_WBITS), [], 0
    for at in range(_ZLIB_HEADER, len(compressed), 1024):
        try:
            part = inflater.decompress(inflater.unconsumed_tail + compressed[at : at + 1024], size - have)
        except igzip_lib.IsalError:  # type: ignore[misc]  # as above
            break
        parts.append(part)
        have += len(part)
        if have >= size or inflater.eof:
            break
    return b"".join(parts)
