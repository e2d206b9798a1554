"""JPEG: baseline and progressive, gray, YCbCr, CMYK and YCCK."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import simplejpeg
from PIL import Image, ImageFile, JpegImagePlugin

from app.codec.history import jpeg as history
from app.codec.limits import MAX_SCANS, segment_numbers
from app.codec.readers.pillow import PillowReader
from app.codec.types import Finding, Samples
from app.errors import UndecodablePicture

_END = b"\xff\xd9"
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_SCAN, _TABLES, _HUFFMAN_FRAMES, _BARE = 0xDA, 0xC4, (0xC0, 0xC1), (0x01, 0xD8, 0xD9)
_FRAMES = (*(kind for kind in range(0xC0, 0xD0) if kind not in (0xC4, 0xC8, 0xCC)), 0xF7)
_LOSSLESS = 0xC3
_ARITHMETIC = (0xC9, 0xCA)
_READ = (0xC0, 0xC1, 0xC2, _LOSSLESS, *_ARITHMETIC)
_KINDS = {_LOSSLESS: "lossless", 0xCB: "lossless, with arithmetic coding", 0xF7: "JPEG-LS"}
_BITS, _FRAME_HEADER, _COMPONENT = 8, 8, 3
_LINES = 0xDC
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
        if (frame := _frame_of(data)) is not None:
            _check_kind(frame)
            data = _with_height(data, frame)
        self._added = 0
        if self.source.allow_truncated and self._end is None:
            data, self._added = data + _END, len(_END)  # libjpeg then returns what it has
        image = super()._opened(data)
        if frame is not None and frame.kind in _ARITHMETIC:
            assert isinstance(image, ImageFile.ImageFile)
            image.decodermaxblock = len(self._data)  # libjpeg cannot pause in it, and Pillow passes on 64 KiB at a time
        return image

    @property
    def compression(self) -> Finding | None:
        """As Reader: by the table of the first component, which is luma where there is one."""
        image = self._image
        assert isinstance(image, JpegImagePlugin.JpegImageFile)
        steps = image.quantization.get(image.layer[0][3]) if image.layer else None
        return Finding("jpeg", history.quality_of(steps)) if steps else None

    def _samples(self, animated: bool) -> Samples:
        # Without what stands between the segments of the header, which libjpeg warns of, and no pixel needs.
        coded = self._data[: len(self._data) - self._added]
        end = None if self._end is None else self._end - (len(self.source.data) - len(coded))
        colorspace = _COLORSPACES.get(self._image.mode, "GRAY")
        damage = fault(coded, end, colorspace)
        if damage is not None:
            if not self.source.allow_truncated:
                raise UndecodablePicture(
                    f"The JPEG is damaged: {damage}. Send the whole file, or ask for what is there with "
                    "truncated=allow."
                )
            self.truncated = True
            self.lacks_pixels = not self._added or fault(self._data, None, colorspace) is not None
        return super()._samples(animated)


class Segment(NamedTuple):
    """A marker's second byte, and where what belongs to it begins and ends: of a scan, its header alone."""

    kind: int
    start: int
    end: int


def segments_of(data: bytes) -> Iterator[Segment]:
    """What the picture consists of, to its end marker, if it has one.

    Segments are stepped over by their lengths, so that thumbnails and what follows the picture are not seen. Raises
    UndecodablePicture if there are more than any writer makes.
    """
    at = 2
    for _ in segment_numbers():
        marker = _MARKER.search(data, at)
        if marker is None:
            return
        kind, start = data[marker.end() - 1], marker.end()
        at = start if kind in _BARE else start + max(2, int.from_bytes(data[start : start + 2], "big"))
        yield Segment(kind, start, at)
        if kind == _END[1]:
            return


class _Frame(NamedTuple):
    """What the first frame header says; `at` is where its height stands. (ITU-T T.81, B.2.2.)"""

    kind: int
    bits: int
    height: int
    components: bytes
    at: int


def _frame_of(data: bytes) -> _Frame | None:
    segment = next((segment for segment in segments_of(data) if segment.kind in _FRAMES), None)
    if segment is None or segment.start + _FRAME_HEADER > len(data):
        return None
    body = data[segment.start : segment.end]
    height = int.from_bytes(body[3:5], "big")
    return _Frame(segment.kind, body[2], height, body[_FRAME_HEADER::_COMPONENT][: body[7]], segment.start + 3)


def _check_kind(frame: _Frame) -> None:
    """UndecodablePicture for a kind of JPEG that is not read; libjpeg decodes some, but tells nobody of damage."""
    if frame.kind in _READ and frame.bits == _BITS and len(frame.components) in (1, 3, 4):
        return
    kind = _KINDS.get(frame.kind, "baseline or progressive" if frame.kind in _READ else "hierarchical")
    raise UndecodablePicture(
        f"The JPEG ({kind}) has {len(frame.components)} channels of {frame.bits} bits, which is not supported. In the "
        "program it is from, save it as PNG or TIFF, or as an ordinary JPEG of 8 bits."
    )


def _with_height(data: bytes, frame: _Frame) -> bytes:
    """With the height in the header that stands behind the first scan, where a header says none. (T.81, B.2.5.)"""
    if frame.height:
        return data
    later = next((segment for segment in segments_of(data) if segment.kind == _LINES), None)
    if later is None:
        return data
    return data[: frame.at] + data[later.start + 2 : later.start + 4] + data[frame.at + 2 :]


def lacks_channels(data: bytes) -> bool:
    """Whether no scan begins the data of a channel, for which libjpeg puts zeros without a word."""
    frame, begun = _frame_of(data), set[int]()
    if frame is None or frame.kind == _LOSSLESS:  # whose scans have no coefficients
        return False
    for segment in segments_of(data):
        if segment.kind == _SCAN and segment.end <= len(data) and data[segment.end - 3] == 0:  # coefficients from 0 on
            begun.update(data[segment.start + 3 : segment.end - 3 : 2])
    return not begun.issuperset(frame.components)


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
    coded = data if end is None else data[:end]
    found = _warning(coded, colorspace)
    if found is not None and _PADDED in found and end is not None:
        found = _warning(coded[: -len(_END)].rstrip(b"\x00\xff") + _END, colorspace)
    if found is None and zeroed(data):
        return "zeros inside its data"
    return "the data of a channel is missing" if found is None and lacks_channels(data) else found


def _warning(data: bytes, colorspace: str) -> str | None:
    try:
        simplejpeg.decode_jpeg(data, colorspace, fastdct=True, fastupsample=True, min_factor=8)
    except ValueError as error:
        words = str(error)
        return words if words.startswith(_DAMAGE) else None  # what TurboJPEG does not know Pillow may
    return None
