"""A PNG writer on ISA-L's deflate, for 8 and 16 bits, gray or RGB, with or without alpha, and for animations."""

import struct
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from itertools import pairwise

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from app.codec.color_management import profile_channels
from app.codec.png_chunks import SIGNATURE, chunk
from app.codec.png_filters import filtered
from app.codec.types import Metadata, Samples

MEDIA_TYPE = "image/png"
_STRIP = 1 << 20  # bytes of picture that are compressed on their own; fixed, so that threads do not change the file
_LEVEL = 2
_NEAR, _FAR = -9, -15  # windows of 512 bytes and 32 KiB: noise compresses better where no far match can be tried
_SAMPLE_ROWS = 32  # one in so many rows decides between the two
_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
_METER = 0.0254


def write(
    frames: Sequence[Samples],
    metadata: Metadata,
    durations_ms: Sequence[int] = (),
    loop: int = 0,
    executor: Executor | None = None,
) -> bytes:
    """The file of one frame, or of several as an APNG. Frames (H, W, C) are of one shape and dtype."""
    height, width, channels = frames[0].shape
    header = struct.pack(">IIBBBBB", width, height, frames[0].itemsize * 8, _COLOR_TYPES[channels], 0, 0, 0)
    parts = [SIGNATURE, chunk(b"IHDR", header), *_ancillary(metadata, channels)]
    if len(frames) == 1:
        parts.append(chunk(b"IDAT", *_compressed(frames[0], executor)))
    else:
        parts.append(chunk(b"acTL", struct.pack(">II", len(frames), loop)))
        sequence = 0
        for index, (frame, duration) in enumerate(zip(frames, durations_ms, strict=True)):
            delay = struct.pack(">HHBB", *_delay(duration), 0, 0)
            parts.append(chunk(b"fcTL", struct.pack(">IIIII", sequence, width, height, 0, 0) + delay))
            body = _compressed(frame, executor)
            if index == 0:
                parts.append(chunk(b"IDAT", *body))
            else:
                parts.append(chunk(b"fdAT", struct.pack(">I", sequence + 1), *body))
            sequence += 1 if index == 0 else 2
    parts.append(chunk(b"IEND"))
    return b"".join(parts)


def _delay(milliseconds: int) -> tuple[int, int]:
    """Numerator and denominator of a frame's time in seconds, 16 bits each."""
    return (milliseconds, 1000) if milliseconds < 65536 else (min(milliseconds // 1000, 65535), 1)


def _ancillary(metadata: Metadata, channels: int) -> Iterable[bytes]:
    colors = 1 if channels <= 2 else 3
    if metadata.icc is not None and profile_channels(metadata.icc) == colors:
        yield chunk(b"iCCP", b"ICC profile\0\0", isal_zlib.compress(metadata.icc, _LEVEL))
    elif metadata.srgb:
        yield chunk(b"sRGB", b"\1")  # relative colorimetric, the intent of the conversion
    if metadata.dpi is not None:
        vertical, horizontal = (min(2**31 - 1, max(1, round(value / _METER))) for value in metadata.dpi)
        yield chunk(b"pHYs", struct.pack(">IIB", horizontal, vertical, 1))
    if metadata.exif is not None:
        yield chunk(b"eXIf", metadata.exif)
    if metadata.xmp is not None:
        yield chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0", metadata.xmp)


def _compressed(samples: Samples, executor: Executor | None) -> list[bytes]:
    """The zlib stream of the filtered picture, in pieces."""
    height, _, channels = samples.shape
    wire = samples if samples.itemsize == 1 else samples.astype(">u2")
    rows = wire.view(np.uint8).reshape(height, -1)
    step = channels * samples.itemsize
    count = max(1, _STRIP // rows.shape[1])
    edges = [*range(0, height, count), height]
    window = _window(rows, step)

    def strip(span: tuple[int, int]) -> tuple[bytes, int, int]:
        top, bottom = span
        raw = filtered(rows[top:bottom], rows[top - 1] if top else None, step)
        deflate = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, window)
        last = bottom == height
        body = deflate.compress(raw) + deflate.flush(isal_zlib.Z_FINISH if last else isal_zlib.Z_FULL_FLUSH)
        return body, isal_zlib.adler32(raw), raw.size

    mapper: Callable[..., Iterable[tuple[bytes, int, int]]] = map if executor is None else executor.map
    parts, checksum = [b"\x78\x5e"], 1
    for body, adler, size in mapper(strip, pairwise(edges)):
        parts.append(body)
        checksum = _adler32_joined(checksum, adler, size)
    parts.append(struct.pack(">I", checksum))
    return parts


def _window(rows: NDArray[np.uint8], step: int) -> int:
    """The window that compresses a sample of the rows better: near for photographs, far for screens and drawings."""
    height = rows.shape[0]
    block = max(1, min(8, height))
    tops = range(0, height - block + 1, block * _SAMPLE_ROWS)
    raw = [filtered(rows[top : top + block], rows[top - 1] if top else None, step) for top in tops]
    joined = np.concatenate(raw)
    sizes = []
    for window in (_NEAR, _FAR):
        deflate = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, window)
        sizes.append(len(deflate.compress(joined)) + len(deflate.flush()))
    return _NEAR if sizes[0] <= sizes[1] else _FAR


def _adler32_joined(first: int, second: int, size: int) -> int:
    """Adler-32 of two pieces from theirs, the second being `size` bytes long (RFC 1950, section 8.2)."""
    base = 65521
    low = ((first & 0xFFFF) + (second & 0xFFFF) - 1) % base
    high = ((first >> 16) + (second >> 16) + size * ((first & 0xFFFF) - 1)) % base
    return high << 16 | low
