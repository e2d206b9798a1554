"""A WebP as its chunks. (RFC 9649, section 2.)"""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from app.errors import UndecodablePicture

MAX_CHUNKS = 65_536
"""That are looked at: writers make a few for each frame, and walking through millions takes long."""
_HEADER = 12  # "RIFF", the size of what follows, "WEBP"
_ANIMATION = 0x02  # a flag of VP8X


class Chunk(NamedTuple):
    """`whole`: the file goes on at least to the chunk's end."""

    kind: bytes
    body: memoryview
    whole: bool


def chunks(data: bytes) -> Iterator[Chunk]:
    """The chunks up to where the file ends; the last one may be cut short."""
    view, at = memoryview(data), _HEADER
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        body = view[at + 8 : at + 8 + size]
        yield Chunk(data[at : at + 4], body, len(body) == size)
        at += 8 + size + size % 2


def size(data: bytes) -> tuple[int, int] | None:
    """(height, width) of the canvas from the first chunk; None if it has none."""
    kind, body = data[12:16], data[20:30]
    if len(body) < 10:
        return None
    if kind == b"VP8X":
        return 1 + int.from_bytes(body[7:10], "little"), 1 + int.from_bytes(body[4:7], "little")
    if kind == b"VP8L" and body[0] == 0x2F:
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
        return int.from_bytes(body[8:10], "little") & 0x3FFF, int.from_bytes(body[6:8], "little") & 0x3FFF
    return None


def is_animated(data: bytes) -> bool:
    """Whether the header says so."""
    return data[12:16] == b"VP8X" and bool(data[20] & _ANIMATION)


def is_whole(data: bytes) -> bool:
    """Whether the file is as long as its header and its chunks say."""
    end = 8 + int.from_bytes(data[4:8], "little")
    return end <= len(data) and all(chunk.whole for chunk in islice(chunks(data[:end]), MAX_CHUNKS))


def whole_frames(data: bytes) -> bytes:
    """An animation of the frames that are whole; UndecodablePicture if not even the first is."""
    kept = [chunk for chunk in islice(chunks(data), MAX_CHUNKS) if chunk.whole]
    if not any(chunk.kind == b"ANMF" for chunk in kept):
        raise UndecodablePicture(
            "The WebP ends before its first frame does: nothing of it can be shown. Send the whole file."
        )
    parts = [b"WEBP"]
    for chunk in kept:
        parts += [chunk.kind, len(chunk.body).to_bytes(4, "little"), bytes(chunk.body), bytes(len(chunk.body) % 2)]
    return b"RIFF" + sum(map(len, parts)).to_bytes(4, "little") + b"".join(parts)
