"""JPEG: baseline and progressive, gray, YCbCr, CMYK and YCCK."""

from PIL import Image, JpegImagePlugin

from app.codec.readers.pillow import PillowReader

_END = b"\xff\xd9"
_TAIL = 64  # bytes at the end in which the end marker is looked for


class JpegReader(PillowReader):
    """A JPEG; an incomplete one is given an end marker if truncated=allow."""

    plugin = JpegImagePlugin.JpegImageFile

    def _opened(self, data: bytes) -> Image.Image:
        if self.source.allow_truncated and _END not in data[-_TAIL:]:
            self.truncated = True
            data += _END  # libjpeg then returns what it has
        return super()._opened(data)
