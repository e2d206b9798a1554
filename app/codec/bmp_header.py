"""The header of a BMP: Windows and OS/2 bitmaps, versions 2 to 5, and what it says of colours."""

import struct
from typing import NamedTuple

from app.codec.color_management import SRGB_CHROMATICITIES, profile_from_png
from app.codec.types import Metadata
from app.errors import UndecodablePicture

PLAIN, RLE8, RLE4 = 0, 1, 2
"""Values of `compression`; the others are those of bit fields."""
_BIT_FIELDS, _ALPHA_BIT_FIELDS = 3, 6
_DEPTHS = {PLAIN: (1, 2, 4, 8, 16, 24, 32), RLE8: (8,), RLE4: (4,)}
_DEPTHS |= dict.fromkeys((_BIT_FIELDS, _ALPHA_BIT_FIELDS), (16, 32))
_MASKS = {16: (0x7C00, 0x03E0, 0x001F, 0), 24: (0xFF0000, 0xFF00, 0xFF, 0), 32: (0xFF0000, 0xFF00, 0xFF, 0)}
_TOP_BYTE = 0xFF000000
_LEAST_OS2, _FIELDS = 16, 32  # bytes: an OS/2 header may end after any field from the depth on; the rest is zero
_FILE_HEADER, _OS2_HEADER, _V2_HEADER, _V3_HEADER = 14, 12, 52, 56
_V4_HEADER, _V5_HEADER, _COLOR_SPACE, _PROFILE_PLACE, _EMBEDDED = 108, 124, 70, 126, b"DEBM"
_CALIBRATED, _SRGB = bytes(4), (b"BGRs", b" niW")  # LCS_CALIBRATED_RGB; LCS_sRGB, LCS_WINDOWS_COLOR_SPACE
_ENDPOINTS, _GAMMAS = struct.Struct("<9I"), struct.Struct("<3I")  # of 2.30 and of 16.16 bits, from byte 74 on
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
            compression, density_x, density_y, colors, entry = PLAIN, 0, 0, 0, 3
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
