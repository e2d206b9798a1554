"""AVIF: pictures of more than 8 bits by imagecodecs, everything else by Pillow. (ISO/IEC 14496-12 and 23008-12.)"""

import struct
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import AvifImagePlugin, Image

from app.codec import edit_list, metadata
from app.codec.av1 import code_points
from app.codec.boxes import boxes
from app.codec.color_management import belongs
from app.codec.heif import HEADERS, Items, Properties, colors
from app.codec.history import avif as history
from app.codec.readers.carrying import instead
from app.codec.readers.pillow import PillowReader
from app.codec.samples import sixteen_bits, spread
from app.codec.types import Finding, Metadata, Samples
from app.errors import UndecodablePicture

_FEW_BOXES = 256
_REVERSIBLE = b"\0\x10"
_ROUNDING = 4  # levels of 8 bits that gray, red and green of two decoders may differ by; libyuv's blue by far more


class AvifReader(PillowReader):
    """An AVIF. AV1 codes a picture as one unit, and no decoder returns a part of it."""

    plugin = AvifImagePlugin.AvifImageFile
    decodes_truncated = False
    _film: NDArray[Any] | None = None

    @classmethod
    def examples(cls) -> Iterable[bytes]:
        """A file that Pillow writes. For more than 8 bits imagecodecs loads libavif with this check already."""
        imagecodecs.avif_check(b"")
        return super().examples()

    @property
    def compression(self) -> Finding | None:
        """As Reader."""
        quality = history.quality_of(self.source.data)
        return None if quality is None else Finding("avif", quality)

    @property
    def loop(self) -> int:
        """How often its edit list says that a sequence is played, which Pillow does not tell; 0 is for ever."""
        return edit_list.plays(self._data)

    def _opened(self, data: bytes) -> Image.Image:
        return super()._opened(told_apart(data))

    def _own_orientation(self) -> int | None:
        return metadata.orientation_of(self._image)

    def _profile(self, channels: int) -> Metadata:
        found = super()._profile(channels)
        if belongs(found.icc, channels):
            return found
        items = Items(self._data)
        other = colors(items.primary, channels <= 2, lambda: code_points(items.beginning(self._data, HEADERS)))
        return instead(found.icc, other)

    def _samples(self, animated: bool) -> Samples:
        known = Items(self._data).primary
        bits = depth(known)
        if animated:
            eight = super()._samples(animated)
            return eight if bits <= 8 else self._of_film(eight, bits)
        if bits <= 8:
            decoded = super()._samples(animated)
            if decoded.shape[2] == 4 and is_monochrome(known):  # Pillow makes RGB of gray with alpha
                decoded = decoded[..., [0, 3]]
        elif self.has_several_frames:
            decoded = self._first_frame(bits)
        else:
            decoded = sixteen_bits(read(self._data, bits), *self.size)
        return cropped(decoded, known)

    def _first_frame(self, bits: int) -> Samples:
        """Of a sequence: its cover with all bits if that is the first frame, or else that frame with 8 bits.

        Pillow reads sequences with 8 bits, and imagecodecs would decode every frame for the first.
        """
        eight = super()._samples(animated=False)
        try:
            cover = sixteen_bits(read(as_still(self._data), bits), *self.size)
        except (RuntimeError, ValueError, UndecodablePicture):
            return eight
        return cover if _alike(cover, eight) else eight

    def _of_film(self, eight: Samples, bits: int) -> Samples:
        """The frame that Pillow has read with 8 bits, with all of them; imagecodecs decodes a film as a whole."""
        if self._film is None:
            try:
                film = np.asarray(imagecodecs.avif_decode(self._data))
            except (RuntimeError, ValueError):
                film = np.zeros((0, 0))
            self._film = film
        index = self._image.tell()
        if self._film.dtype != np.uint16 or index >= len(self._film):
            return eight
        deep = self._film[index].reshape(*self._film.shape[1:3], -1)
        frame = spread(deep, bits) if deep.max(initial=0) < 1 << bits else deep
        # All frames are of one depth, so the first one decides.
        if index == 0 and not _alike(frame, eight):
            self._film = np.zeros((0, 0))
            return eight
        return frame


def _alike(deep: Samples, eight: Samples) -> bool:
    """Whether the first two channels are the same picture in 16 bits and in 8."""
    same = deep.shape == eight.shape and deep.dtype == np.uint16
    return same and bool((np.abs(deep[..., :2] / 257 - eight[..., :2]) <= _ROUNDING).all())


def as_still(data: bytes) -> bytes:
    """A sequence that says that it is none, so that libavif takes its primary picture, the cover."""
    size = int.from_bytes(data[:4], "big")
    return data[:8] + data[8:size].replace(b"avis", b"avif") + data[size:]


def told_apart(data: bytes) -> bytes:
    """The file with boxes `ipma` that differ in flags without a meaning: libavif takes no two that are alike.

    Some writers make one for each picture.
    """
    if len(_associations(memoryview(data))) < 2:
        return data
    copy = bytearray(data)
    for number, body in enumerate(_associations(memoryview(copy))[1:_FEW_BOXES], 1):
        body[2:3] = bytes((number,))
    return bytes(copy)


def _associations(data: memoryview) -> list[memoryview]:
    """The bodies of its boxes `ipma`, which say which properties a picture has."""
    meta = next((body[4:] for kind, body in boxes(data) if kind == b"meta"), memoryview(b""))
    return [body for kind, body in boxes(dict(boxes(meta)).get(b"iprp", memoryview(b""))) if kind == b"ipma"]


def depth(own: Properties) -> int:
    """Bits of a sample of RGB or gray by the properties of a picture: those that are coded, 8 if nothing says so.

    YCgCo-Re, which is without loss, is coded with two more. (ITU-T H.273, 8.3, MatrixCoefficients 16.)
    """
    colors = bytes(own.get(b"colr", b"")[:10])
    return _coded_depth(own) - (2 if colors.startswith(b"nclx") and colors[8:] == _REVERSIBLE else 0)


def _coded_depth(own: Properties) -> int:
    """What `pixi` says, or else `av1C`."""
    if b"pixi" in own and len(own[b"pixi"]) > 5:
        return own[b"pixi"][5]
    flags = own[b"av1C"][2] if len(own.get(b"av1C", b"")) > 2 else 0
    return (12 if flags & 0x20 else 10) if flags & 0x40 else 8


def is_monochrome(own: Properties) -> bool:
    """Whether `av1C`, or of a grid `pixi`, says that there is no chroma."""
    if b"av1C" in own:
        return len(own[b"av1C"]) > 2 and bool(own[b"av1C"][2] & 0x10)
    return len(own.get(b"pixi", b"")) > 4 and own[b"pixi"][4] == 1


def cropped(samples: Samples, own: Properties) -> Samples:
    """The clean aperture of `clap`, which a reader has to show (ISO/IEC 14496-12, 12.1.4.1); all if it is no such box.

    Like other readers, this takes no aperture that is not made of whole pixels or lies partly outside the picture.
    """
    if len(own.get(b"clap", b"")) != 32:
        return samples
    values = struct.unpack(">IIIIiIiI", own[b"clap"])
    if not all(values[1::2]):
        return samples
    width, height, right, down = (Fraction(*values[at : at + 2]) for at in (0, 2, 4, 6))
    left = (samples.shape[1] - width) / 2 + right
    top = (samples.shape[0] - height) / 2 + down
    whole = all(value.denominator == 1 for value in (width, height, left, top))
    inside = left >= 0 <= top and left + width <= samples.shape[1] and top + height <= samples.shape[0]
    if not (whole and inside and width and height):
        return samples
    return samples[int(top) : int(top + height), int(left) : int(left + width)]


def read(data: bytes, bits: int) -> Samples:
    """The primary picture (H, W, C), uint16, spread over 16 bits: v * 65535 / (2^bits - 1), rounded."""
    decoded = np.asarray(imagecodecs.avif_decode(data))
    if decoded.dtype != np.uint16 or not 8 < bits < 16:
        raise ValueError(f"the header promises {bits} bits and the data holds {decoded.dtype}")
    return spread(np.atleast_3d(decoded), bits)
