"""The quality of a lossy WebP, by the quantiser in its VP8 frame's header. (RFC 6386, sections 7, 9 and 19.2.)"""

from collections.abc import Iterator
from itertools import islice

from app.codec.webp_chunks import MAX_CHUNKS, chunks

_HEADER = 10  # frame tag, start code, sizes
_ANIMATION_HEADER = 16
_SEGMENTS = 4
_COARSEST = 127


def quality_of(data: bytes) -> int | None:
    """libwebp's quality, 0 to 100, whose quantiser the first frame has; None if it is lossless or cannot be read."""
    frame = next(_frames(data), None)
    if frame is None or len(frame) <= _HEADER or frame[0] & 1:
        return None  # none, or one that depends on others, which no WebP has
    try:
        index = _quantizer(_Bits(bytes(frame[_HEADER:])))
    except IndexError:
        return None
    # The inverse of libwebp's way from a quality to the quantiser, which is for perceived quality to be linear.
    linear = (1 - index / _COARSEST) ** 3
    return round(100 * (1.5 * linear if linear < 0.5 else (1 + linear) / 2))


def _frames(data: bytes) -> Iterator[memoryview]:
    """VP8 frames of a still or an animation, up to the first that is lossless."""
    for chunk in islice(chunks(data), MAX_CHUNKS):
        kind, body = chunk.kind, chunk.body
        if kind == b"ANMF":
            inner = bytes(12) + bytes(body[_ANIMATION_HEADER:])
            pictures = (each for each in islice(chunks(inner), MAX_CHUNKS) if each.kind in (b"VP8 ", b"VP8L"))
            kind, body, _ = next(pictures, (b"", body, False))
        if kind == b"VP8L":
            return
        if kind == b"VP8 ":
            yield body


class _Bits:
    """VP8's boolean decoder where both values are equally likely, which all of a frame's header is coded with.

    Raises IndexError where the data ends.
    """

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 2
        self._value, self._range, self._shift = int.from_bytes(data[:2], "big"), 255, 0

    def flag(self) -> int:
        """One bit."""
        split = 1 + (((self._range - 1) * 128) >> 8)
        bit = int(self._value >= split << 8)
        if bit:
            self._range -= split
            self._value -= split << 8
        else:
            self._range = split
        while self._range < 128:
            self._value, self._range, self._shift = self._value << 1, self._range << 1, self._shift + 1
            if self._shift == 8:
                self._value, self._at, self._shift = self._value | self._data[self._at], self._at + 1, 0
        return bit

    def number(self, bits: int) -> int:
        """An unsigned number."""
        value = 0
        for _ in range(bits):
            value = value << 1 | self.flag()
        return value

    def optional(self, bits: int) -> int:
        """A signed number, or 0 where a flag says that there is none."""
        if not self.flag():
            return 0
        value = self.number(bits)
        return -value if self.flag() else value


def _quantizer(bits: _Bits) -> float:
    """The index of the quantiser, 0 to 127; where there are segments, each with its own, the mean of theirs."""
    bits.number(2)  # colour space, clamping
    own: list[int] = []
    absolute = False
    if bits.flag():
        new_map, new_values = bits.flag(), bits.flag()
        if new_values:
            absolute = bool(bits.flag())
            own = [bits.optional(7) for _ in range(_SEGMENTS)]
            _ = [bits.optional(6) for _ in range(_SEGMENTS)]  # of the loop filter
        if new_map:
            _ = [bits.number(8) if bits.flag() else 255 for _ in range(_SEGMENTS - 1)]
    bits.number(1 + 6 + 3)  # the loop filter's kind, level and sharpness
    if bits.flag() and bits.flag():
        _ = [bits.optional(6) for _ in range(8)]  # its changes with reference frames and modes
    bits.number(2)  # partitions
    base = bits.number(7)
    indices = [value if absolute else base + value for value in own] or [base]
    return sum(min(max(index, 0), _COARSEST) for index in indices) / len(indices)
