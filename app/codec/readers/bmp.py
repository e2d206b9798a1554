"""BMP: uncompressed files by their header (Windows and OS/2 bitmaps, versions 2 to 5).

Pillow takes a palette of grays for the samples themselves, whatever their depth, and knows few layouts of bit fields.
"""

import io
import struct
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.codec.color_management import SRGB_CHROMATICITIES, profile_from_png
from app.codec.readers.base import Frame, Reader, Source
from app.codec.types import Metadata, Samples
from app.errors import UndecodablePicture

_LEAST_OS2, _FIELDS = 16, 32  # bytes: an OS/2 header may end after any field from the depth on; the rest is zero
_FILE_HEADER, _OS2_HEADER, _V2_HEADER, _V3_HEADER = 14, 12, 52, 56
_V4_HEADER, _V5_HEADER, _COLOR_SPACE, _PROFILE_PLACE, _EMBEDDED = 108, 124, 70, 126, b"DEBM"
_CALIBRATED, _SRGB = bytes(4), (b"BGRs", b" niW")  # LCS_CALIBRATED_RGB; LCS_sRGB, LCS_WINDOWS_COLOR_SPACE
_ENDPOINTS, _GAMMAS = struct.Struct("<9I"), struct.Struct("<3I")  # of 2.30 and of 16.16 bits, from byte 74 on
_PLAIN, _RLE8, _RLE4, _BIT_FIELDS, _ALPHA_BIT_FIELDS = 0, 1, 2, 3, 6
_DEPTHS = {_PLAIN: (1, 2, 4, 8, 16, 24, 32), _RLE8: (8,), _RLE4: (4,)}
_DEPTHS |= dict.fromkeys((_BIT_FIELDS, _ALPHA_BIT_FIELDS), (16, 32))
_MASKS = {16: (0x7C00, 0x03E0, 0x001F, 0), 24: (0xFF0000, 0xFF00, 0xFF, 0), 32: (0xFF0000, 0xFF00, 0xFF, 0)}
_TOP_BYTE = 0xFF000000
_END_OF_ROW, _END, _SKIP = 0, 1, 2  # behind a count of zero; more is the number of pixels that follow as they are
_SPARE_CODES = 16  # beside one for each pixel
_INCH = 0.0254  # metres
_ALIKE = 0.01  # three gammas of channels that are meant to be one


class Header(NamedTuple):
    """`masks` are of red, green, blue and alpha, 0 where there is none; `density` is in pixels a metre, (y, x)."""

    height: int
    width: int
    bits: int
    compression: int
    top_down: bool
    pixels_at: int
    palette_at: int
    palette_entry: int
    colors: int
    masks: tuple[int, int, int, int]
    density: tuple[int, int]


def parsed(data: bytes) -> Header:
    """The header of a BMP. Raises UndecodablePicture."""
    try:
        pixels_at, size = struct.unpack_from("<II", data, 10)
        if size == _OS2_HEADER:
            width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
            compression, density_x, density_y, colors, entry = _PLAIN, 0, 0, 0, 3
        else:
            fields = data[18 : min(_FILE_HEADER + size, 18 + _FIELDS)]
            if _LEAST_OS2 <= size <= len(data) - _FILE_HEADER:
                fields = fields.ljust(_FIELDS, b"\0")
            width, height, _, bits, compression, _, density_x, density_y, colors = struct.unpack("<iiHHIIiiI", fields)
            entry = 4
        masks = _masks(data, size, bits, compression)
    except struct.error:
        raise UndecodablePicture("The BMP ends inside its header. Send the whole file.") from None
    if width <= 0 or height == 0 or bits not in _DEPTHS.get(compression, ()):
        raise UndecodablePicture(
            f"The BMP says {width}x{height} pixels of {bits} bits in compression {compression}, which no picture has "
            "or which is not supported. Send it uncompressed, with 1 to 32 bits."
        )
    palette_at = _FILE_HEADER + size + (12 if size < _V2_HEADER and compression == _BIT_FIELDS else 0)
    most = 1 << bits if bits <= 8 else 0
    colors = min(colors or most, most)
    if pixels_at in (0, palette_at):  # of a writer that forgot the palette, or did not say
        pixels_at = palette_at + colors * entry
    if pixels_at < palette_at:
        raise UndecodablePicture(
            f"The BMP says that its pixels begin at byte {pixels_at:,}, inside its header. Save it again."
        )
    return Header(
        abs(height),
        width,
        bits,
        compression,
        top_down=height < 0,
        pixels_at=pixels_at,
        palette_at=palette_at,
        palette_entry=entry,
        colors=colors,
        masks=masks,
        density=(density_y, density_x),
    )


def _masks(data: bytes, size: int, bits: int, compression: int) -> tuple[int, int, int, int]:
    """Those in the header, or behind a header that has no place for them, else the usual ones.

    A header of version 4 or 5 names alpha's field whatever the compression, the other three for bit fields only.
    """
    if compression not in (_BIT_FIELDS, _ALPHA_BIT_FIELDS):
        red, green, blue, alpha = _MASKS.get(bits, (0, 0, 0, 0))
        if size >= _V4_HEADER and bits == 32:
            (named,) = struct.unpack_from("<I", data, _FILE_HEADER + 52)
            alpha = _TOP_BYTE if named == _TOP_BYTE else 0
        return red, green, blue, alpha
    red, green, blue = struct.unpack_from("<III", data, _FILE_HEADER + 40)
    alpha = 0
    if size >= _V3_HEADER or compression == _ALPHA_BIT_FIELDS:
        (alpha,) = struct.unpack_from("<I", data, _FILE_HEADER + 52)
    return red, green, blue, alpha


def embedded_profile(data: bytes) -> bytes | None:
    """The ICC profile that a header of version 5 says is in the file."""
    if len(data) < _FILE_HEADER + _V5_HEADER or int.from_bytes(data[14:18], "little") < _V5_HEADER:
        return None
    if data[_COLOR_SPACE : _COLOR_SPACE + 4] != _EMBEDDED:
        return None
    at, size = struct.unpack_from("<II", data, _PROFILE_PLACE)
    return data[_FILE_HEADER + at : _FILE_HEADER + at + size] or None


def colors(data: bytes, gray: bool) -> Metadata:
    """What a header of version 4 or 5 says of the colours: a profile, primaries and gamma, or sRGB.

    A header names no white, so D65 is taken, and where it leaves fields zero, as many do, sRGB's primaries or gamma.
    """
    size = int.from_bytes(data[14:18], "little")
    if (icc := embedded_profile(data)) is not None:
        return Metadata(icc=icc)
    if not _V4_HEADER <= size <= len(data) - _FILE_HEADER:
        return Metadata()
    kind = data[_COLOR_SPACE : _COLOR_SPACE + 4]
    if kind in _SRGB:
        return Metadata(srgb=True)
    if kind != _CALIBRATED:
        return Metadata()
    ends = _ENDPOINTS.unpack_from(data, _COLOR_SPACE + 4)
    gammas = [gamma / 65536 for gamma in _GAMMAS.unpack_from(data, _COLOR_SPACE + 4 + _ENDPOINTS.size)]
    sums = [sum(ends[at : at + 3]) for at in (0, 3, 6)]
    places = [ends[at + axis] / total for at, total in zip((0, 3, 6), sums, strict=True) for axis in (0, 1) if total]
    gamma = sum(gammas) / 3 if max(gammas) - min(gammas) < _ALIKE else 0
    usual = (*SRGB_CHROMATICITIES[:2], *places) if len(places) == 6 else None
    return Metadata(icc=profile_from_png(1 / gamma if gamma else None, usual, gray))


class BmpReader(Reader):
    """A BMP."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._header = parsed(source.data)
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
        indices = self._run_lengths() if header.compression in (_RLE8, _RLE4) else self._indices()
        return Frame(self._palette(int(indices.max(initial=0)))[indices], 0)

    def metadata(self, channels: int) -> Metadata:
        """The profile, and the density if that is kept."""
        density, found = self._header.density, colors(self.source.data, gray=channels <= 2)
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
        gray = (palette == palette[:, :1]).all() and embedded_profile(self.source.data) is None
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
        has_alpha = alpha and (self._header.compression != _PLAIN or (words & alpha).any())
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
        indices, whole = run_lengths(data, header.height, header.width, four_bits=header.compression == _RLE4)
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
