"""AVIF: stills of more than 8 bits by imagecodecs, everything else by Pillow. (ISO/IEC 14496-12 and 23008-12.)"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction

import imagecodecs
import numpy as np
from PIL import AvifImagePlugin

from app.codec import color_management, metadata
from app.codec.boxes import boxes
from app.codec.history import avif as history
from app.codec.readers.pillow import PillowReader
from app.codec.samples import sixteen_bits
from app.codec.types import Compression, Metadata, Samples


class AvifReader(PillowReader):
    """An AVIF. AV1 codes a picture as one unit, and no decoder returns a part of it."""

    plugin = AvifImagePlugin.AvifImageFile
    decodes_truncated = False

    @classmethod
    def examples(cls) -> Iterable[bytes]:
        """As Reader. For more than 8 bits imagecodecs loads libavif with this check already."""
        imagecodecs.avif_check(b"")
        return super().examples()

    @property
    def compression(self) -> Compression | None:
        """As Reader."""
        quality = history.quality_of(self.source.data)
        return None if quality is None else Compression("avif", quality)

    def _own_orientation(self) -> int | None:
        return metadata.orientation_of(self._image)

    def _profile(self, channels: int) -> Metadata:
        found = super()._profile(channels)
        if found.icc is None and (code_points := color(self._data)) is not None:
            found = Metadata(icc=color_management.profile_from_cicp(*code_points, gray=channels <= 2))
        return found

    def _samples(self, animated: bool) -> Samples:
        if animated:
            return super()._samples(animated)
        known = properties(self._data)
        # Pillow reads sequences with 8 bits; imagecodecs would decode every frame for the first.
        if not self.has_several_frames and (bits := depth(known)) > 8:
            decoded = sixteen_bits(read(self._data, bits), *self.size)
        else:
            decoded = super()._samples(animated)
        return cropped(decoded, known)


def properties(data: bytes) -> dict[bytes, memoryview]:
    """The properties of the primary picture, by the type of their box."""
    meta = next((body[4:] for kind, body in boxes(memoryview(data)) if kind == b"meta"), memoryview(b""))
    parts = dict(boxes(meta))
    containers = dict(boxes(parts.get(b"iprp", memoryview(b""))))
    if b"pitm" not in parts or b"ipma" not in containers:
        return {}
    primary = int.from_bytes(parts[b"pitm"][4 : 8 if parts[b"pitm"][0] else 6], "big")
    known = list(boxes(containers.get(b"ipco", memoryview(b""))))
    return dict(known[index - 1] for index in _associated(containers[b"ipma"], primary) if 0 < index <= len(known))


def color(data: bytes) -> tuple[int, int] | None:
    """Colour primaries and transfer characteristics of `colr`, if they are given by code points (ITU-T H.273)."""
    own = properties(data).get(b"colr", b"")
    return struct.unpack_from(">HH", own, 4) if own[:4] == b"nclx" and len(own) >= 11 else None


def depth(own: Mapping[bytes, memoryview]) -> int:
    """Bits of a sample by the properties of a picture: what `pixi` says, or else `av1C`; 8 if neither is there."""
    if b"pixi" in own and len(own[b"pixi"]) > 5:
        return own[b"pixi"][5]
    flags = own[b"av1C"][2] if len(own.get(b"av1C", b"")) > 2 else 0
    return (12 if flags & 0x20 else 10) if flags & 0x40 else 8


def cropped(samples: Samples, own: Mapping[bytes, memoryview]) -> Samples:
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


def _associated(ipma: memoryview, item: int) -> Iterator[int]:
    """Numbers, from 1, of the properties of an item."""
    id_size, index_size = (4 if ipma[0] else 2), (2 if ipma[3] & 1 else 1)
    at = 8
    while at + id_size < len(ipma):
        found, count = int.from_bytes(ipma[at : at + id_size], "big"), ipma[at + id_size]
        at += id_size + 1
        if found == item:
            for start in range(at, at + count * index_size, index_size):
                # The highest bit says that the property is essential.
                yield int.from_bytes(ipma[start : start + index_size], "big") & ((1 << 8 * index_size - 1) - 1)
        at += count * index_size


def read(data: bytes, bits: int) -> Samples:
    """The primary picture (H, W, C), uint16, spread over 16 bits: v * 65535 / (2^bits - 1), rounded."""
    decoded = np.asarray(imagecodecs.avif_decode(data))
    if decoded.dtype != np.uint16 or not 8 < bits < 16:
        raise ValueError(f"the header promises {bits} bits and the data holds {decoded.dtype}")
    full = (1 << bits) - 1
    spread = (np.minimum(decoded, full).astype(np.uint32) * (2 * 65535) + full) // (2 * full)
    return np.atleast_3d(spread.astype(np.uint16))
