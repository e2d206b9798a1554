"""A PNG writer on ISA-L's deflate, for 8 and 16 bits, gray or RGB, with or without alpha, and for animations."""

import struct
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from app.codec.color_management import profile_channels
from app.codec.png_chunks import SIGNATURE, chunk
from app.codec.png_filters import ADAPTIVE, NONE, UP, filtered
from app.codec.types import Metadata, Samples

MEDIA_TYPE = "image/png"
_STRIP = 1 << 20  # bytes of picture that are compressed on their own; fixed, so that threads do not change the file
_LEVEL, _MEMORY = 2, 3  # more memory makes larger blocks, whose codes then fit less well
_BLOCK, _ONE_IN = 8, 32  # rows at a time, and one in so many, that decide how the picture is written
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


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a picture is written. Noise compresses better where no far match can be tried: 512 bytes against 32 KiB."""

    filters: tuple[int, ...]
    window: int

    def deflated(self, raw: NDArray[np.uint8], flush: int) -> bytes:
        """Raw deflate of one piece."""
        deflate = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, self.window, _MEMORY)
        return deflate.compress(raw) + deflate.flush(flush)


_PLANS = (_Plan(ADAPTIVE, -9), _Plan(ADAPTIVE, -15), _Plan((UP,), -9), _Plan((UP,), -15), _Plan((NONE,), -15))


def _best_plan(rows: NDArray[np.uint8], step: int) -> _Plan:
    """The plan that makes a sample of the rows smallest."""
    height = rows.shape[0]
    tops = range(0, max(1, height - _BLOCK + 1), _BLOCK * _ONE_IN)
    samples: dict[tuple[int, ...], NDArray[np.uint8]] = {}
    for plan in _PLANS:
        if plan.filters not in samples:
            blocks = [
                filtered(rows[top : top + _BLOCK], rows[top - 1] if top else None, step, plan.filters) for top in tops
            ]
            samples[plan.filters] = np.concatenate(blocks)
    return min(_PLANS, key=lambda plan: len(plan.deflated(samples[plan.filters], isal_zlib.Z_FINISH)))


def _compressed(samples: Samples, executor: Executor | None) -> list[bytes]:
    """The zlib stream of the filtered picture, in pieces."""
    height, _, channels = samples.shape
    wire = samples if samples.itemsize == 1 else samples.astype(">u2")
    rows = wire.view(np.uint8).reshape(height, -1)
    step = channels * samples.itemsize
    count = max(1, _STRIP // rows.shape[1])
    edges = [*range(0, height, count), height]
    plan = _best_plan(rows, step)

    def strip(span: tuple[int, int]) -> tuple[bytes, int, int]:
        top, bottom = span
        raw = filtered(rows[top:bottom], rows[top - 1] if top else None, step, plan.filters)
        body = plan.deflated(raw, isal_zlib.Z_FINISH if bottom == height else isal_zlib.Z_FULL_FLUSH)
        return body, isal_zlib.adler32(raw), raw.size

    mapper: Callable[..., Iterable[tuple[bytes, int, int]]] = map if executor is None else executor.map
    parts, checksum = [b"\x78\x5e"], 1
    for body, adler, size in mapper(strip, pairwise(edges)):
        parts.append(body)
        checksum = _adler32_joined(checksum, adler, size)
    parts.append(struct.pack(">I", checksum))
    return parts


def _adler32_joined(first: int, second: int, size: int) -> int:
    """Adler-32 of two pieces from theirs, the second being `size` bytes long (RFC 1950, section 8.2)."""
    base = 65521
    low = ((first & 0xFFFF) + (second & 0xFFFF) - 1) % base
    high = ((first >> 16) + (second >> 16) + size * ((first & 0xFFFF) - 1)) % base
    return high << 16 | low
