"""Bands of a PNG, unpacked once into a file of raw rows, as a PNG can only be read from its start."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import imagecodecs
import numpy as np
from isal import igzip_lib, isal_zlib

from app.bands.lock import locked
from app.bands.source import version_of
from app.codec import png_chunks
from app.codec.png_chunks import SIGNATURE, chunk
from app.errors import UndecodablePicture

_PIECE = 1 << 20  # bytes of the file read at a time
_PART = 32 << 20  # bytes of rows that are unfiltered together
_MOST_ANCILLARY = 64 << 20
_AS_FILTERED = {1: (0, 8), 2: (4, 8), 3: (2, 8), 4: (6, 8), 6: (2, 16), 8: (6, 16)}
"""By bytes a pixel: a colour type and depth with as many, whose filters are therefore the same."""


class PngSource:
    """The still picture of a PNG."""

    several = False

    def __init__(self, path: Path, folder: Path) -> None:
        """Unpacks it into `folder` unless that has been done. Raises OSError and UndecodablePicture."""
        with path.open("rb") as file:
            self._head, self._others, self._header = _beginning(file)
            header = self._header
            if header.interlaced:
                raise UndecodablePicture(
                    "The PNG is interlaced, so its rows cannot be read from the top down: save it without interlacing."
                )
            self.height, self.width = header.height, header.width
            self._stride, self._pixel = header.row_bytes(header.width), max(1, header.pixel_bits // 8)
            version = version_of(os.fstat(file.fileno()))
            # Named by the version: until there is a plan, nothing else tells that the source has been replaced.
            unpacked = folder / f"source-{version['bytes']}-{version['modified']}.rows"
            with locked(folder / "source.lock"):
                if not unpacked.exists():
                    part = folder / "source.part"
                    with part.open("wb") as target:
                        self._unpack(file, target)
                    part.replace(unpacked)
        self._rows = np.memmap(unpacked, np.uint8, "r", shape=(self.height, self._stride))

    def rows(self, first: int, last: int) -> bytes:
        """See Source."""
        raw = np.zeros((last - first, 1 + self._stride), np.uint8)
        raw[:, 1:] = self._rows[first:last]
        return _file(self._head[:4], last - first, self._head[8:], self._others, raw.tobytes())

    def close(self) -> None:
        """The rows are a mapping, which ends with this object."""

    def _unpack(self, file: BinaryIO, target: BinaryIO) -> None:
        """Writes the unfiltered rows of the IDAT chunks, at the first of which `file` is positioned."""
        above, line = bytes(self._stride), 1 + self._stride
        most = max(1, _PART // line) * line
        waiting, rows = bytearray(), 0
        for piece in _inflated(file, self.height * line):
            waiting += piece
            while len(waiting) >= most:
                above = self._unfilter(bytes(waiting[:most]), above, target)
                rows += most // line
                del waiting[:most]
        if waiting and not len(waiting) % line:
            self._unfilter(bytes(waiting), above, target)
        if rows + len(waiting) / line != self.height:
            raise UndecodablePicture("The PNG ends before its last row. Send the whole file.")

    def _unfilter(self, filtered: bytes, above: bytes, target: BinaryIO) -> bytes:
        """Writes whole rows, unfiltered by libpng; `above` is the raw row before them. Returns the last one."""
        color, depth = _AS_FILTERED[self._pixel]
        count = len(filtered) // (1 + self._stride)
        head = struct.pack(">I", self._stride // self._pixel)
        tail = bytes((depth, color, 0, 0, 0))
        data = _file(head, count + 1, tail, b"", b"\0" + above + filtered)
        samples = np.asarray(imagecodecs.png_decode(data))
        wire = samples if samples.itemsize == 1 else samples.astype(">u2")
        raw = np.ascontiguousarray(wire).view(np.uint8).reshape(count + 1, self._stride)[1:]
        target.write(raw.tobytes())
        return bytes(raw[-1])


def _file(width: bytes, height: int, tail: bytes, others: bytes, raw: bytes) -> bytes:
    """A PNG of stored, not compressed, rows: `width` and `tail` are the rest of IHDR, `others` the chunks after it."""
    head = chunk(b"IHDR", width, struct.pack(">I", height), tail)
    return b"".join((SIGNATURE, head, others, chunk(b"IDAT", isal_zlib.compress(raw, 0)), chunk(b"IEND")))


def _beginning(file: BinaryIO) -> tuple[bytes, bytes, png_chunks.Header]:
    """IHDR's body, the chunks between it and the picture's data, and the header; leaves `file` at the data."""
    if file.read(len(SIGNATURE)) != SIGNATURE:
        raise UndecodablePicture("The file is not a PNG.")
    kept, body = [], b""
    while True:
        at = file.tell()
        length, kind = _chunk_head(file)
        if kind == b"IDAT":
            file.seek(at)
            break
        if length > _MOST_ANCILLARY or kind == b"IEND":
            raise UndecodablePicture("The PNG holds no picture data (IDAT) where it should be.")
        data, checksum = file.read(length), file.read(4)
        sound = isal_zlib.crc32(data, isal_zlib.crc32(kind)) == int.from_bytes(checksum, "big")
        if kind == b"acTL":
            raise UndecodablePicture("The PNG is an animation, which bands do not take: save one frame as a still PNG.")
        if kind == b"IHDR":
            body = data
        elif sound:
            kept.append(chunk(kind, data))
        elif not kind[:1].islower() or kind == b"tRNS":
            raise UndecodablePicture(f"The PNG is damaged: chunk {kind.decode('latin-1')!r} has a wrong checksum.")
    return body, b"".join(kept), png_chunks.header(SIGNATURE + chunk(b"IHDR", body))


def _chunk_head(file: BinaryIO) -> tuple[int, bytes]:
    head = file.read(8)
    if len(head) < 8:
        raise UndecodablePicture("The PNG ends before its end mark (IEND). Send the whole file.")
    return int.from_bytes(head[:4], "big"), head[4:]


def _inflated(file: BinaryIO, size: int) -> Iterator[bytes]:
    """The inflated data of the IDAT chunks, piece by piece, `size` bytes at most. Raises UndecodablePicture."""
    inflater, left = isal_zlib.decompressobj(), size
    for piece in _data(file):
        while left and not inflater.eof:
            try:
                out = inflater.decompress(piece, min(left, 8 * _PIECE))
            except igzip_lib.IsalError as error:  # type: ignore[misc]  # the stubs do not say that it is an exception
                raise UndecodablePicture(f"The PNG's data does not inflate: {error}.") from error
            left -= len(out)
            yield out
            piece = inflater.unconsumed_tail
            if not piece and len(out) < 8 * _PIECE:
                break


def _data(file: BinaryIO) -> Iterator[bytes]:
    """The bodies of the IDAT chunks in pieces, with their checksums compared."""
    while True:
        length, kind = _chunk_head(file)
        if kind != b"IDAT":
            return
        checksum = isal_zlib.crc32(kind)
        while length:
            piece = file.read(min(length, _PIECE))
            if not piece:
                raise UndecodablePicture("The PNG ends before its end mark (IEND). Send the whole file.")
            checksum, length = isal_zlib.crc32(piece, checksum), length - len(piece)
            yield piece
        if file.read(4) != checksum.to_bytes(4, "big"):
            raise UndecodablePicture("The PNG is damaged: chunk 'IDAT' is cut short or has a wrong checksum.")
