"""AVIF: stills of more than 8 bits by imagecodecs, everything else by Pillow. (ISO/IEC 14496-12 and 23008-12.)"""

from collections.abc import Iterable, Iterator

import imagecodecs
import numpy as np
from PIL import AvifImagePlugin

from app.codec.readers.pillow import PillowReader
from app.codec.samples import sixteen_bits
from app.codec.types import Samples


class AvifReader(PillowReader):
    """An AVIF. AV1 codes a picture as one unit, and no decoder returns a part of it."""

    plugin = AvifImagePlugin.AvifImageFile
    decodes_truncated = False

    @classmethod
    def examples(cls) -> Iterable[bytes]:
        """As Reader. For more than 8 bits imagecodecs loads libavif with this check already."""
        imagecodecs.avif_check(b"")
        return super().examples()

    def _samples(self, animated: bool) -> Samples:
        if not animated and (bits := depth(self.source.data)) > 8:
            return sixteen_bits(read(self.source.data, bits), *self.size)
        return super()._samples(animated)


def depth(data: bytes) -> int:
    """Bits of a sample of the primary picture: what `pixi` says of it, or else `av1C`; 8 if neither is there."""
    meta = next((body[4:] for kind, body in _boxes(memoryview(data)) if kind == b"meta"), memoryview(b""))
    parts = dict(_boxes(meta))
    properties = dict(_boxes(parts.get(b"iprp", memoryview(b""))))
    if b"pitm" not in parts or b"ipma" not in properties:
        return 8
    primary = int.from_bytes(parts[b"pitm"][4 : 8 if parts[b"pitm"][0] else 6], "big")
    known = list(_boxes(properties.get(b"ipco", memoryview(b""))))
    own = dict(known[index - 1] for index in _associated(properties[b"ipma"], primary) if 0 < index <= len(known))
    if b"pixi" in own and len(own[b"pixi"]) > 5:
        return own[b"pixi"][5]
    flags = own[b"av1C"][2] if len(own.get(b"av1C", b"")) > 2 else 0
    return (12 if flags & 0x20 else 10) if flags & 0x40 else 8


def _boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and body of each box."""
    at = 0
    while at + 8 <= len(data):
        size, head = int.from_bytes(data[at : at + 4], "big"), 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        end = at + size if size else len(data)
        if end < at + head:
            return
        yield bytes(data[at + 4 : at + 8]), data[at + head : end]
        at = end


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
