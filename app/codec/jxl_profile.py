"""Code points of ITU-T H.273 as libjxl names colours, and the ICC profiles that it makes of them."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import byref
from typing import Any

from app.codec import jxl

_SRGB_PRIMARIES, _D65, _DCI_WHITE, _P3 = 1, 1, 11, 11
_PLACES = {1: (_SRGB_PRIMARIES, _D65), 9: (9, _D65), 11: (_P3, _DCI_WHITE), 12: (_P3, _D65)}
"""Primaries and white point of libjxl by colour primaries; its transfer functions have the numbers of H.273."""
_TRANSFERS = (1, 8, 13, 16, 17, 18)
_GRAY, _MOST_BYTES = 1, 4 * 1024 * 1024
_ROOM = 1 << 16


def has_name(points: tuple[int, int]) -> bool:
    """Whether libjxl has names for the primaries and the transfer characteristics."""
    return points[0] in _PLACES and points[1] in _TRANSFERS


def encoding(points: tuple[int, int], gray: bool) -> jxl.ColorEncoding | None:
    """The value for libjxl; None where it has no name for one."""
    primaries, transfer = points
    if transfer not in _TRANSFERS or (primaries not in _PLACES and not gray):
        return None
    color = jxl.ColorEncoding()
    jxl.library().JxlColorEncodingSetToSRGB(byref(color), int(gray))
    color.transfer_function = transfer
    if not gray:
        color.primaries, color.white_point = _PLACES[primaries]
    return color


def code_points(color: jxl.ColorEncoding) -> tuple[int, int] | None:
    """The reverse, gray being given the primaries of sRGB; None for what has no code points."""
    place = (_SRGB_PRIMARIES, color.white_point) if color.color_space == _GRAY else (color.primaries, color.white_point)
    primaries = next((number for number, known in _PLACES.items() if known == place), None)
    if primaries is None or color.transfer_function not in _TRANSFERS:
        return None
    return primaries, color.transfer_function


def is_taken(profile: bytes, channels: int) -> bool:
    """Whether a JPEG XL of 1 or 3 colour `channels` can have this profile: libjxl refuses those that are not valid."""
    library = jxl.library()
    with _encoder(library, channels) as encoder:
        return int(library.JxlEncoderSetICCProfile(encoder, profile, len(profile))) == jxl.SUCCESS


def of_samples(decoder: Any) -> bytes | None:
    """The profile of a JPEG XL's samples, from a decoder that has reported its colours; None without one."""
    library, size = jxl.library(), ctypes.c_size_t()
    found = library.JxlDecoderGetICCProfileSize(decoder, jxl.TARGET_DATA, byref(size))
    if found != jxl.SUCCESS or not 0 < size.value <= _MOST_BYTES:
        return None
    profile = ctypes.create_string_buffer(size.value)
    library.JxlDecoderGetColorAsICCProfile(decoder, jxl.TARGET_DATA, profile, size.value)
    return profile.raw


def made(points: tuple[int, int], gray: bool) -> bytes | None:
    """A profile for code points, by way of a JPEG XL of one pixel; None for those that libjxl has no name for.

    Raises UnsupportedFormat where libjxl cannot be called.
    """
    color, library = encoding(points, gray), jxl.library()
    if color is None:
        return None
    file = _one_pixel(library, color, 1 if gray else 3)
    decoder = library.JxlDecoderCreate(None)
    try:
        library.JxlDecoderSubscribeEvents(decoder, jxl.COLOR_ENCODING)
        library.JxlDecoderSetInput(decoder, file, len(file))
        return of_samples(decoder) if library.JxlDecoderProcessInput(decoder) == jxl.COLOR_ENCODING else None
    finally:
        library.JxlDecoderDestroy(decoder)


@contextmanager
def _encoder(library: ctypes.CDLL, channels: int) -> Iterator[Any]:
    """An encoder that knows of one pixel of so many colours, and nothing of what they are."""
    info, encoder = jxl.BasicInfo(), library.JxlEncoderCreate(None)
    try:
        library.JxlEncoderInitBasicInfo(byref(info))
        info.xsize = info.ysize = 1
        info.bits_per_sample, info.num_color_channels, info.uses_original_profile = 8, channels, 1
        library.JxlEncoderSetBasicInfo(encoder, byref(info))
        yield encoder
    finally:
        library.JxlEncoderDestroy(encoder)


def _one_pixel(library: ctypes.CDLL, color: jxl.ColorEncoding, channels: int) -> bytes:
    layout = jxl.PixelFormat(channels, jxl.UINT8, 0, 0)
    room, left = ctypes.create_string_buffer(_ROOM), ctypes.c_size_t(_ROOM)
    start = ctypes.c_void_p(ctypes.addressof(room))
    with _encoder(library, channels) as encoder:
        library.JxlEncoderSetColorEncoding(encoder, byref(color))
        settings = library.JxlEncoderFrameSettingsCreate(encoder, None)
        library.JxlEncoderSetFrameLossless(settings, 1)
        library.JxlEncoderAddImageFrame(settings, byref(layout), bytes(channels), channels)
        library.JxlEncoderCloseInput(encoder)
        library.JxlEncoderProcessOutput(encoder, byref(start), byref(left))
    return room.raw[: _ROOM - left.value]
