"""BMP: the pixels of uncompressed and run-length coded files, by their header.

Pillow takes a palette of grays for the samples themselves, whatever their depth, and knows few layouts of bit fields.
"""

import io
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.codec import bmp_header
from app.codec.bmp_header import PLAIN, RLE4, RLE8
from app.codec.readers.base import Frame, Reader, Source
from app.codec.types import Metadata, Samples
from app.errors import UndecodablePicture

_END_OF_ROW, _END, _SKIP = 0, 1, 2  # behind a count of zero; more is the number of pixels that follow as they are
_SPARE_CODES = 16  # beside one for each pixel
_INCH = 0.0254  # metres


class BmpReader(Reader):
    """A BMP."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._header = bmp_header.parsed(source.data)
        source.check_pixels(*self.size)

    @classmethod
    def examples(cls) -> Iterable[bytes]:
        """A file that Pillow writes."""
        file = io.BytesIO()
        Image.new("RGB", (1, 1)).save(file, "BMP")
        return (file.getvalue(),)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) by the header."""
        return self._header.height, self._header.width

    def frame(self, index: int, animated: bool) -> Frame:
        """The pixels from the top down, RGB or gray, with alpha where there is a field of it."""
        header = self._header
        if header.bits > 8:
            return Frame(self._fields(self._words()), 0)
        indices = self._run_lengths() if header.compression in (RLE8, RLE4) else self._indices()
        return Frame(self._palette(int(indices.max(initial=0)))[indices], 0)

    def metadata(self, channels: int) -> Metadata:
        """The profile, and the density if that is kept."""
        density, found = self._header.density, bmp_header.colors(self.source.data, gray=channels <= 2)
        if self.source.options.metadata == "drop" or min(density) <= 0:
            return found
        return replace(found, dpi=(density[0] * _INCH, density[1] * _INCH))

    def _rows(self) -> NDArray[np.uint8]:
        """The bytes of each row (height, bytes a row), padding included, from the top down; missing ones are 0."""
        header, data = self._header, self.source.data
        stride = (header.width * header.bits + 31) // 32 * 4
        needed = header.height * stride
        body = np.frombuffer(data, np.uint8)[header.pixels_at : header.pixels_at + needed]
        if body.size < needed:
            if not self.source.allow_truncated:
                raise UndecodablePicture(
                    f"The BMP is cut short: {needed - body.size} of {needed} bytes of its pixels are missing. Send the "
                    "whole file, or ask for what is there with truncated=allow."
                )
            if body.size < stride:
                raise UndecodablePicture("The BMP holds no whole row of pixels. Send the whole file.")
            self.truncated = self.lacks_pixels = True
            body = np.pad(body, (0, needed - body.size))
        rows = body.reshape(header.height, stride)
        return rows if header.top_down else rows[::-1]

    def _indices(self) -> NDArray[np.uint8]:
        """(height, width) of palette entries."""
        rows, bits = self._rows(), self._header.bits
        if bits < 8:
            shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
            rows = np.bitwise_and(rows[:, :, None] >> shifts, (1 << bits) - 1, dtype=np.uint8).reshape(len(rows), -1)
        return rows[:, : self._header.width]

    def _palette(self, last: int) -> Samples:
        """(256, 1 or 3): what each index up to `last` shows, black where the file names no colour; gray if all are.

        Colours that are needed and do not fit before the pixels are read out of these, as all known readers do.
        """
        header = self._header
        end = max(header.pixels_at, header.palette_at + (last + 1) * header.palette_entry)
        room = np.frombuffer(self.source.data, np.uint8)[header.palette_at : end]
        count = min(header.colors, room.size // header.palette_entry)
        entries = room[: count * header.palette_entry].reshape(count, header.palette_entry)[:, 2::-1]
        palette = np.zeros((256, 3), np.uint8)
        palette[:count] = entries
        # A profile of RGB is not for samples of gray.
        gray = (palette == palette[:, :1]).all() and bmp_header.embedded_profile(self.source.data) is None
        return palette[:, :1] if gray else palette

    def _words(self) -> NDArray[np.uint32]:
        """(height, width) of pixels as they stand in the file."""
        width, size = self._header.width, self._header.bits // 8
        rows = np.ascontiguousarray(self._rows()[:, : width * size]).reshape(-1, width, size)
        words = np.zeros((*rows.shape[:2], 4), np.uint8)
        words[..., :size] = rows
        return words.view("<u4")[..., 0]

    def _fields(self, words: NDArray[np.uint32]) -> Samples:
        """RGB, with alpha where there is a field of it: each field scaled to 8 bits by its own full scale.

        Without bit fields, an alpha of zeros throughout is the unused byte of a writer that fills in the mask always.
        """
        *colors, alpha = self._header.masks
        has_alpha = alpha and (self._header.compression != PLAIN or (words & alpha).any())
        channels = []
        for mask in self._header.masks if has_alpha else colors:
            shift = (mask & -mask).bit_length() - 1 if mask else 0
            full = mask >> shift
            if full & (full + 1):
                raise UndecodablePicture(
                    f"The BMP has a bit field whose bits are not next to each other ({mask:#x}). Save it again."
                )
            values = ((words & mask) >> shift).astype(np.uint64)
            channels.append(((values * 510 + full) // max(2 * full, 1)).astype(np.uint8))
        return np.stack(channels, axis=-1)

    def _run_lengths(self) -> NDArray[np.uint8]:
        """(height, width) of palette entries; the first entry where the file skips pixels or ends early in order."""
        header = self._header
        data = self.source.data[header.pixels_at :]
        indices, whole = run_lengths(data, header.height, header.width, four_bits=header.compression == RLE4)
        if not whole:
            if not self.source.allow_truncated:
                raise UndecodablePicture(
                    "The BMP's run lengths are cut short. Send the whole file, or ask for what is there with "
                    "truncated=allow."
                )
            self.truncated = self.lacks_pixels = True
        return indices if header.top_down else indices[::-1]


def run_lengths(data: bytes, height: int, width: int, *, four_bits: bool) -> tuple[NDArray[np.uint8], bool]:
    """The rows that the runs describe, in the order of the file, and whether the data reaches its end mark or the last
    pixel. What reaches out of a row is not taken; data of more codes than the pixels can need is taken for damaged.
    """
    pixels, at, x, y, whole = bytearray(height * width), 0, 0, 0, False
    left = height * (width + _SPARE_CODES) + _SPARE_CODES
    while y < height and at + 1 < len(data) and left:
        count, value = data[at], data[at + 1]
        at, left = at + 2, left - 1
        start, room = y * width + x, max(0, width - x)
        if count:
            seen = min(count, room)
            run = bytes((value >> 4, value & 15)) * (seen // 2 + 1) if four_bits else bytes((value,)) * seen
            pixels[start : start + seen] = run[:seen]
            x += count
        elif value == _END_OF_ROW:
            x, y = 0, y + 1
        elif value == _END:
            whole = True
            break
        elif value == _SKIP:
            x, y, at = x + sum(data[at : at + 1]), y + sum(data[at + 1 : at + 2]), at + 2
        else:
            size = (value + 1) // 2 if four_bits else value
            literal = data[at : at + size]
            if four_bits:
                literal = bytes(half for each in literal for half in (each >> 4, each & 15))
            seen = min(value, room, len(literal))
            pixels[start : start + seen] = literal[:seen]
            x, at = x + (value if at + size <= len(data) else 0), at + size + size % 2
    whole = whole or y >= height or (y == height - 1 and x >= width)
    return np.frombuffer(pixels, np.uint8).reshape(height, width), whole
