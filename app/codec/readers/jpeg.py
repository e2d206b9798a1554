"""JPEG: baseline and progressive, gray, YCbCr, CMYK and YCCK."""

import re

import simplejpeg
from PIL import Image, JpegImagePlugin

from app.codec.history import jpeg as history
from app.codec.readers.pillow import PillowReader
from app.codec.types import Compression, Samples
from app.errors import UndecodablePicture

MAX_SCANS = 100
"""A progressive JPEG has about ten; each more costs a pass over all coefficients for as little as twenty bytes."""
_END = b"\xff\xd9"
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_SCAN, _BARE = 0xDA, (0x01, 0xD8, 0xD9)
_DAMAGE = ("Premature end of JPEG", "Corrupt JPEG data")
_PADDED = "before marker 0xd9"
_COLORSPACES = {"L": "GRAY", "CMYK": "CMYK"}


class JpegReader(PillowReader):
    """A JPEG. libjpeg fills in what is damaged and only warns; Pillow drops the warnings, so TurboJPEG is asked."""

    plugin = JpegImagePlugin.JpegImageFile

    def _opened(self, data: bytes) -> Image.Image:
        scans, self._end = scans_of(data)
        if scans > MAX_SCANS:
            raise UndecodablePicture(f"The JPEG has more than {MAX_SCANS} scans. Save it with an ordinary encoder.")
        if self.source.allow_truncated and self._end is None:
            data += _END  # libjpeg then returns what it has
        return super()._opened(data)

    @property
    def compression(self) -> Compression | None:
        """As Reader: by the table of the first component, which is luma where there is one."""
        image = self._image
        assert isinstance(image, JpegImagePlugin.JpegImageFile)
        steps = image.quantization.get(image.layer[0][3]) if image.layer else None
        return Compression("jpeg", history.quality_of(steps)) if steps else None

    def _samples(self, animated: bool) -> Samples:
        damage = fault(self.source.data, self._end, _COLORSPACES.get(self._image.mode, "GRAY"))
        if damage is not None:
            if not self.source.allow_truncated:
                raise UndecodablePicture(
                    f"The JPEG is damaged: {damage}. Send the whole file, or ask for what is there with "
                    "truncated=allow."
                )
            self.truncated = True
        return super()._samples(animated)


def scans_of(data: bytes) -> tuple[int, int | None]:
    """How many scans the picture has, at most one more than allowed, and where it ends; None if it has no end.

    Segments are stepped over by their lengths, so that thumbnails and what follows the picture are not counted.
    """
    scans, at = 0, 2
    while scans <= MAX_SCANS and (marker := _MARKER.search(data, at)):
        kind, at = data[marker.end() - 1], marker.end()
        if kind == _END[1]:
            return scans, at
        scans += kind == _SCAN
        if kind not in _BARE:
            at += max(2, int.from_bytes(data[at : at + 2], "big"))
    return scans, None


def fault(data: bytes, end: int | None, colorspace: str) -> str | None:
    """What is wrong with the coded data, in libjpeg's words; None for a whole picture.

    Padding between the data and the end marker, which some cameras write, is not damage. Everything but the inverse
    transform is done at full resolution.
    """
    found = _warning(data if end is None else data[:end], colorspace)
    if found is not None and _PADDED in found and end is not None:
        found = _warning(data[: end - 2].rstrip(b"\x00\xff") + _END, colorspace)
    return found


def _warning(data: bytes, colorspace: str) -> str | None:
    try:
        simplejpeg.decode_jpeg(data, colorspace, fastdct=True, fastupsample=True, min_factor=8)
    except ValueError as error:
        words = str(error)
        return words if words.startswith(_DAMAGE) else None  # what TurboJPEG does not know Pillow may
    return None
