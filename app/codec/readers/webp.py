"""WebP (RFC 9649): read by Pillow, or as far as it is there by libwebp's incremental decoder."""

import ctypes
from functools import cached_property, lru_cache
from itertools import islice

import numpy as np
from PIL import Image, WebPImagePlugin, _webp

from app.codec.history import webp as history
from app.codec.readers.pillow import PillowReader
from app.codec.types import Finding, Samples
from app.codec.webp_chunks import MAX_CHUNKS, chunks, is_animated, is_whole, size, whole_frames
from app.errors import UndecodablePicture

_ALPHA = 0x10  # a flag of VP8X, and of the fifth byte of VP8L
_FLAGS = 20  # where those of VP8X stand
_OPAQUE = 255
_ENDLESS = 0xFFFFFFF6  # the largest size that a RIFF may have
_RGBA, _OK = 1, 0  # of libwebp: MODE_RGBA, VP8_STATUS_OK
_KEPT = {b"ICCP": "icc_profile", b"EXIF": "exif", b"XMP ": "xmp"}


class WebpReader(PillowReader):
    """A WebP; of an incomplete one, if truncated=allow, the rows that decode, or an animation's complete frames."""

    plugin = WebPImagePlugin.WebPImageFile

    @property
    def compression(self) -> Finding | None:
        """As Reader."""
        quality = history.quality_of(self.source.data)
        return None if quality is None else Finding("webp", quality)

    def _samples(self, animated: bool) -> Samples:
        """Without the alpha of a picture that is said to have none, as browsers show it.

        Of an animation, that is said of its frames, and where none of them is, the canvas is transparent.
        """
        decoded = super()._samples(animated)
        if decoded.shape[2] == 3 or self._announces_alpha:
            return decoded
        return decoded if is_animated(self._data) and decoded[..., 3].min() < _OPAQUE else decoded[..., :3]

    @cached_property
    def _announces_alpha(self) -> bool:
        """As `_has_alpha`, which walks through the whole file: once, not for every frame."""
        return _has_alpha(self.source.data)

    def _opened(self, data: bytes) -> Image.Image:
        # Pillow allocates the whole canvas when it opens a WebP, so its size is checked before.
        canvas = size(data)
        if canvas is None:
            raise UndecodablePicture("The WebP's header is cut short or invalid. Send the whole, undamaged file.")
        self.source.check_pixels(*canvas)
        if self.source.allow_truncated:
            whole = is_whole(data)
            if not is_animated(data) and not (whole and _libwebp() is None):
                image, complete = rows(self._separated(data), *canvas)
                if not (whole and complete):
                    self.truncated, self.lacks_pixels = True, not complete
                    return image
            elif not whole:
                data, self.truncated = whole_frames(data), True
        if is_animated(data):  # whatever alpha its frames have, Pillow passes it on if the header announces it
            data = data[:_FLAGS] + bytes((data[_FLAGS] | _ALPHA,)) + data[_FLAGS + 1 :]
        return super()._opened(data)


def rows(data: bytes, height: int, width: int) -> tuple[Image.Image, bool]:
    """A still of `height` x `width` as far as it decodes, the rest black or transparent, and whether that is all of it.

    UndecodablePicture if not even one row does. What stands before or behind the picture (profile, EXIF, XMP) is in
    the image's `info` if it is whole.
    """
    libwebp, pixels = _libwebp(), np.zeros((height, width, 4), np.uint8)
    if libwebp is None:
        raise UndecodablePicture("A damaged WebP cannot be read on this system.")
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
        raise UndecodablePicture("The WebP holds no row of pixels that can be read. Send the whole, undamaged file.")
    image = Image.fromarray(pixels if _has_alpha(data) else np.ascontiguousarray(pixels[..., :3]))
    for chunk in islice(chunks(data), MAX_CHUNKS):
        if chunk.whole and chunk.kind in _KEPT:
            image.info[_KEPT[chunk.kind]] = bytes(chunk.body)
    return image, status == _OK


def _has_alpha(data: bytes) -> bool:
    """Whether VP8X says so, or the lossless picture itself: exiftool adds a VP8X without the flag."""
    for chunk in islice(chunks(data), MAX_CHUNKS):
        if chunk.kind == b"VP8X" and chunk.body and chunk.body[0] & _ALPHA:
            return True
        if chunk.kind == b"VP8L":
            return len(chunk.body) > 4 and bool(chunk.body[4] & _ALPHA)
    return False


@lru_cache(maxsize=1)
def _libwebp() -> ctypes.CDLL | None:
    """The libwebp that Pillow brings along, for its incremental decoder, which Pillow and imagecodecs leave unused.

    None where it cannot be called.
    """
    library = ctypes.CDLL(_webp.__file__)  # symbols are looked for in what the module is linked with, too
    if not hasattr(library, "WebPINewRGB"):  # a module that keeps its functions to itself, as those for Windows may
        return None
    library.WebPINewRGB.restype = ctypes.c_void_p
    library.WebPINewRGB.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    library.WebPIUpdate.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    library.WebPIDecGetRGB.restype = ctypes.c_void_p
    library.WebPIDecGetRGB.argtypes = [ctypes.c_void_p, *[ctypes.POINTER(ctypes.c_int)] * 4]
    library.WebPIDelete.argtypes = [ctypes.c_void_p]
    return library
