"""JPEG: baseline and progressive, gray, YCbCr, CMYK and YCCK."""

import re
from collections.abc import Iterator
from typing import NamedTuple

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
_SCAN, _TABLES, _HUFFMAN_FRAMES, _BARE = 0xDA, 0xC4, (0xC0, 0xC1), (0x01, 0xD8, 0xD9)
_FRAMES = (*(kind for kind in range(0xC0, 0xD0) if kind not in (0xC4, 0xC8, 0xCC)), 0xF7)
_READ = (0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA)
_KINDS = {0xC3: "lossless", 0xCB: "lossless, with arithmetic coding", 0xF7: "JPEG-LS"}
_BITS = 8
_ZEROS = bytes(32)
_END_OF_BLOCK = 0
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
        _check_kind(data)
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


class Segment(NamedTuple):
    """A marker's second byte, and where what belongs to it begins and ends: of a scan, its header alone."""

    kind: int
    start: int
    end: int


def segments_of(data: bytes) -> Iterator[Segment]:
    """What the picture consists of, to its end marker, if it has one.

    Segments are stepped over by their lengths, so that thumbnails and what follows the picture are not seen.
    """
    at = 2
    while marker := _MARKER.search(data, at):
        kind, start = data[marker.end() - 1], marker.end()
        at = start if kind in _BARE else start + max(2, int.from_bytes(data[start : start + 2], "big"))
        yield Segment(kind, start, at)
        if kind == _END[1]:
            return


def _check_kind(data: bytes) -> None:
    """UndecodablePicture for a kind of JPEG that is not read, by its first frame header. (ITU-T T.81, table B.1.)

    libjpeg decodes some of them, but tells nobody of their damage.
    """
    frame = next((segment for segment in segments_of(data) if segment.kind in _FRAMES), None)
    if frame is None or frame.start + 2 >= len(data):
        return
    bits = data[frame.start + 2]
    if frame.kind not in _READ or bits != _BITS:
        kind = _KINDS.get(frame.kind, "hierarchical" if frame.kind not in _READ else "baseline or progressive")
        raise UndecodablePicture(
            f"The JPEG ({kind}) has {bits} bits a sample, which is not supported. In the program it is from, save it "
            "as PNG or TIFF, which keep its depth, or as an ordinary JPEG of 8 bits."
        )


def scans_of(data: bytes) -> tuple[int, int | None]:
    """How many scans the picture has, at most one more than allowed, and where it ends; None if it has no end."""
    scans = 0
    for segment in segments_of(data):
        if segment.kind == _END[1]:
            return scans, segment.end
        scans += segment.kind == _SCAN
        if scans > MAX_SCANS:
            break
    return scans, None


def zeroed(data: bytes) -> bool:
    """Whether a baseline scan has zeros in it that no encoder writes.

    A block that ends is all zeros only where that is what the end of a block is coded as, in every component. Elsewhere
    32 of them are more than a whole block of one coefficient repeated. Zeros behind the data are padding.
    """
    if _ZEROS not in data:
        return False
    first_codes: dict[int, int] = {}
    baseline = False
    scan: Segment | None = None
    for segment in segments_of(data):
        if scan is not None and _ZEROS in data[scan.end : segment.start - 2].rstrip(b"\x00\xff"):
            return True
        scan = None
        if segment.kind == _TABLES:
            first_codes |= _first_codes(data[segment.start + 2 : segment.end])
        elif segment.kind in _HUFFMAN_FRAMES:
            baseline = True
        elif segment.kind == _SCAN and baseline:
            count = data[segment.start + 2] if segment.start + 2 < len(data) else 0
            tables = data[segment.start + 4 : segment.start + 4 + 2 * count : 2]
            codes = [first_codes.get(table & 15) for table in tables]
            scan = segment if any(code not in (None, _END_OF_BLOCK) for code in codes) else None
    return False


def _first_codes(tables: bytes) -> dict[int, int]:
    """The symbol whose code is all zeros, of each table for AC in a segment."""
    found = {}
    while len(tables) > 17:
        if tables[0] & 0x10:
            found[tables[0] & 15] = tables[17]
        tables = tables[17 + sum(tables[1:17]) :]
    return found


def fault(data: bytes, end: int | None, colorspace: str) -> str | None:
    """What is wrong with the coded data, in libjpeg's words if it noticed; None for a whole picture.

    Padding between the data and the end marker, which some cameras write, is not damage. Everything but the inverse
    transform is done at full resolution.
    """
    found = _warning(data if end is None else data[:end], colorspace)
    if found is not None and _PADDED in found and end is not None:
        found = _warning(data[: end - 2].rstrip(b"\x00\xff") + _END, colorspace)
    return "zeros inside its data" if found is None and zeroed(data) else found


def _warning(data: bytes, colorspace: str) -> str | None:
    try:
        simplejpeg.decode_jpeg(data, colorspace, fastdct=True, fastupsample=True, min_factor=8)
    except ValueError as error:
        words = str(error)
        return words if words.startswith(_DAMAGE) else None  # what TurboJPEG does not know Pillow may
    return None
