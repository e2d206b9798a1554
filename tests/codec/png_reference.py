"""A slow reference writer and reader of PNG that follows the specification literally and uses no code of the codec."""

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk with its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def header(height: int, width: int, depth: int, color_type: int, interlaced: bool = False) -> bytes:
    """The IHDR chunk."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, interlaced))


def write_png(
    samples: Array,
    color_type: int,
    depth: int,
    *,
    interlaced: bool = False,
    extra: Sequence[tuple[bytes, bytes]] = (),
    level: int = 6,
) -> bytes:
    """A PNG of samples (H, W, C) in units of the file's depth; rows use the filters 0 to 4 in turn."""
    height, width, _ = samples.shape
    raw = b""
    for left, top, step_x, step_y in PASSES if interlaced else ((0, 0, 1, 1),):
        part = samples[top::step_y, left::step_x]
        if part.size:
            raw += _filtered(part, depth)
    parts = [b"\x89PNG\r\n\x1a\n", header(height, width, depth, color_type, interlaced)]
    parts += [chunk(kind, body) for kind, body in extra]
    return b"".join([*parts, chunk(b"IDAT", zlib.compress(raw, level)), chunk(b"IEND", b"")])


def _packed(row: Array, depth: int) -> bytes:
    if depth == 16:
        return row.astype(">u2").tobytes()
    if depth == 8:
        return row.astype(np.uint8).tobytes()
    bits = "".join(format(int(value), f"0{depth}b") for value in row.ravel())
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


def predicted(kind: int, left: int, up: int, corner: int) -> int:
    """The prediction of a byte from its neighbours, by clause 9.2."""
    if kind == 4:
        estimate = left + up - corner
        return min((left, up, corner), key=lambda value: abs(estimate - value))
    return (0, left, up, (left + up) // 2)[kind]


def _filtered(part: Array, depth: int) -> bytes:
    step = max(1, part.shape[2] * depth // 8)
    out, above = b"", b""
    for index, row in enumerate(part):
        line = _packed(row, depth)
        above = above or bytes(len(line))
        kind = index % 5
        before, corner = bytes(step) + line, bytes(step) + above
        values = ((line[i] - predicted(kind, before[i], above[i], corner[i])) % 256 for i in range(len(line)))
        out += bytes([kind]) + bytes(values)
        above = line
    return out


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, body) of every chunk, with its checksum verified."""
    at = 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length)[0] == zlib.crc32(kind + body), kind
        yield kind, body
        at += 12 + length


def read_png(data: bytes) -> Array:
    """Samples (H, W, C) of a PNG of 8 or 16 bits without palette or interlacing, as the codec writes them."""
    found = list(chunks(data))
    width, height, depth, color_type, _, _, interlaced = struct.unpack(">IIBBBBB", found[0][1])
    assert depth in (8, 16)
    assert color_type != 3
    assert not interlaced
    raw = zlib.decompress(b"".join(body for kind, body in found if kind == b"IDAT"))
    step = CHANNELS[color_type] * depth // 8
    length = width * step
    assert len(raw) == height * (length + 1)
    above = bytearray(length)
    rows = b""
    for at in range(0, len(raw), length + 1):
        kind, line = raw[at], bytearray(raw[at + 1 : at + 1 + length])
        for i in range(length):
            left, corner = (line[i - step], above[i - step]) if i >= step else (0, 0)
            line[i] = (line[i] + predicted(kind, left, above[i], corner)) % 256
        rows, above = rows + bytes(line), line
    samples = np.frombuffer(rows, np.uint8 if depth == 8 else ">u2").reshape(height, width, CHANNELS[color_type])
    return samples.astype(np.uint8 if depth == 8 else np.uint16)
