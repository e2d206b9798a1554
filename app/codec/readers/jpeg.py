"""JPEG: baseline and progressive, gray, YCbCr, CMYK and YCCK."""

from PIL import Image, JpegImagePlugin

from app.codec.readers.pillow import PillowReader

_END = b"\xff\xd9"
_TAIL = 64  # bytes in which the end mark is looked for


class JpegReader(PillowReader):
    """A JPEG; if parts are taken, one that is cut short is given an end mark."""

    plugin = JpegImagePlugin.JpegImageFile

    def _opened(self, data: bytes) -> Image.Image:
        if self.source.allow_truncated and _END not in data[-_TAIL:]:
            self.truncated = True
            data += _END  # libjpeg then gives out what it has
        return super()._opened(data)
