"""Deflate (RFC 1951) by four encoders, each of which makes raw deflate of bytes, at least one; and inflating in steps.

`huffman` and `isal` can also make a piece that others follow, so that pieces may be made in parallel.
"""

from collections.abc import Iterator
from typing import Protocol

import imagecodecs
import numpy as np
from isal import isal_zlib

from app.codec.native import library
from app.codec.types import Bytes


def huffman(raw: Bytes, last: bool = True) -> bytes:
    """Codes of their own for blocks of bytes, and runs of zeros: 1 GB/s, and for photographs' rows the smallest.

    By huffman.c, which has to be compiled: `native.library()` is there.
    """
    native = library()
    assert native is not None
    out = np.empty(native.huffman_room(raw.size), np.uint8)
    size = native.huffman_deflate(raw.ctypes.data, raw.size, last, out.ctypes.data)
    return out[:size].tobytes()


def isal(raw: Bytes, level: int, last: bool = True) -> bytes:
    """By ISA-L: a third of libdeflate's time. More memory than this makes it larger."""
    deflate = isal_zlib.compressobj(level, isal_zlib.DEFLATED, -isal_zlib.MAX_WBITS, 3)
    return deflate.compress(raw) + deflate.flush(isal_zlib.Z_FINISH if last else isal_zlib.Z_FULL_FLUSH)


def libdeflate(raw: Bytes, level: int) -> bytes:
    """By libdeflate: the smallest for its time."""
    return bytes(imagecodecs.deflate_encode(raw, level, raw=True))  # type: ignore[arg-type]  # any buffer will do


def zlib_ng(raw: Bytes, level: int) -> bytes:
    """By zlib-ng, which passes over long matches; libdeflate takes note of every byte in them."""
    stream = bytes(imagecodecs.zlibng_encode(raw, level))  # type: ignore[arg-type]  # any buffer will do
    return stream[2:-4]  # less the header and the checksum of a zlib stream


class Inflater(Protocol):
    """zlib's or ISA-L's."""

    @property
    def eof(self) -> bool:
        """Whether the stream has ended."""
        ...

    @property
    def unconsumed_tail(self) -> bytes:
        """The part of the last input that was not used yet."""
        ...

    def decompress(self, data: bytes | memoryview, max_length: int) -> bytes:
        """The output for this input, at most so many bytes."""
        ...


def inflated(inflater: Inflater, data: bytes | memoryview, step: int) -> Iterator[bytes]:
    """What `data`, the next of a stream, inflates to, at most `step` bytes at a time. Raises the inflater's errors.

    After a full step, an inflater may have more output that needs no further input.
    """
    while not inflater.eof:
        out = inflater.decompress(data, step)
        yield out
        data = inflater.unconsumed_tail
        if not data and len(out) < step:
            return
