"""WebP (RFC 9649): read by Pillow, or as far as it is there by libwebp's incremental decoder."""

import ctypes
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import numpy as np
from PIL import Image, WebPImagePlugin, _webp

from app.codec.readers.pillow import PillowReader
from app.errors import UndecodablePicture

_HEADER = 12  # "RIFF", the size of what follows, "WEBP"
_MAX_CHUNKS = 65_536
_ANIMATION, _ALPHA = 0x02, 0x10  # flags of VP8X
_ENDLESS = 0xFFFFFFF6  # the largest size that a RIFF may have
_RGBA, _OK = 1, 0  # of libwebp: MODE_RGBA, VP8_STATUS_OK
_KEPT = {b"ICCP": "icc_profile", b"EXIF": "exif", b"XMP ": "xmp"}


class WebpReader(PillowReader):
    """A WebP; of an incomplete one, if truncated=allow, the rows that decode, or an animation's complete frames."""

    plugin = WebPImagePlugin.WebPImageFile

    def _opened(self, data: bytes) -> Image.Image:
        # Pillow allocates the whole canvas when it opens a WebP, so its size is checked before.
        canvas = size(data)
        if canvas is None:
            raise UndecodablePicture("The WebP's header is cut short or invalid.")
        self.source.check_pixels(*canvas)
        if self.source.allow_truncated:
            whole = is_whole(data)
            if not is_animated(data):
                image, complete = rows(data, *canvas)
                if not (whole and complete):
                    self.truncated = True
                    return image
            elif not whole:
                data, self.truncated = whole_frames(data), True
        return super()._opened(data)


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
    return end <= len(data) and all(chunk.whole for chunk in islice(chunks(data[:end]), _MAX_CHUNKS))


def whole_frames(data: bytes) -> bytes:
    """An animation of the frames that are whole; UndecodablePicture if not even the first is."""
    kept = [chunk for chunk in islice(chunks(data), _MAX_CHUNKS) if chunk.whole]
    if not any(chunk.kind == b"ANMF" for chunk in kept):
        raise UndecodablePicture("The WebP ends before its first frame does: nothing of it can be shown.")
    parts = [b"WEBP"]
    for chunk in kept:
        parts += [chunk.kind, len(chunk.body).to_bytes(4, "little"), bytes(chunk.body), bytes(len(chunk.body) % 2)]
    return b"RIFF" + sum(map(len, parts)).to_bytes(4, "little") + b"".join(parts)


def rows(data: bytes, height: int, width: int) -> tuple[Image.Image, bool]:
    """A still of `height` x `width` as far as it decodes, the rest black or transparent, and whether that is all of it.

    UndecodablePicture if not even one row does. What stands before or behind the picture (profile, EXIF, XMP) is in
    the image's `info` if it is whole.
    """
    libwebp, pixels = _libwebp(), np.zeros((height, width, 4), np.uint8)
    decoder = libwebp.WebPINewRGB(_RGBA, pixels.ctypes.data, pixels.nbytes, width * 4)
    if not decoder:
        raise MemoryError
    try:
        # The size in the header may be of a file that was longer, or not known when the header was written.
        endless = data[:4] + _ENDLESS.to_bytes(4, "little") + data[8:]
        status, last = libwebp.WebPIUpdate(decoder, endless, len(endless)), ctypes.c_int(0)
        libwebp.WebPIDecGetRGB(decoder, ctypes.byref(last), None, None, None)
    finally:
        libwebp.WebPIDelete(decoder)
    if last.value < 1:
        raise UndecodablePicture("The WebP holds no row of pixels that can be read.")
    image = Image.fromarray(pixels if _has_alpha(data) else np.ascontiguousarray(pixels[..., :3]))
    for chunk in islice(chunks(data), _MAX_CHUNKS):
        if chunk.whole and chunk.kind in _KEPT:
            image.info[_KEPT[chunk.kind]] = bytes(chunk.body)
    return image, status == _OK


def _has_alpha(data: bytes) -> bool:
    kind = data[12:16]
    if kind == b"VP8L":
        return bool(data[24] & 0x10)
    return kind == b"VP8X" and bool(data[20] & _ALPHA)


@lru_cache(maxsize=1)
def _libwebp() -> ctypes.CDLL:
    """The libwebp that Pillow brings along, for its incremental decoder, which Pillow and imagecodecs leave unused."""
    library = ctypes.CDLL(_webp.__file__)  # symbols are looked for in what the module is linked with, too
    library.WebPINewRGB.restype = ctypes.c_void_p
    library.WebPINewRGB.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    library.WebPIUpdate.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    library.WebPIDecGetRGB.restype = ctypes.c_void_p
    library.WebPIDecGetRGB.argtypes = [ctypes.c_void_p, *[ctypes.POINTER(ctypes.c_int)] * 4]
    library.WebPIDelete.argtypes = [ctypes.c_void_p]
    return library
