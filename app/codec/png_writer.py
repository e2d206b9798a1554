"""A PNG writer on libdeflate, zlib-ng and ISA-L: 8 and 16 bits, gray or RGB, with or without alpha, and animations."""

import io
import struct
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

import imagecodecs
import numpy as np
from isal import isal_zlib

from app.codec.color_management import profile_channels
from app.codec.png_chunks import SIGNATURE, chunk
from app.codec.png_filters import ADAPTIVE, NONE, PAETH, UP, Bytes, filtered, unfiltered
from app.codec.types import Metadata, Samples

MEDIA_TYPE = "image/png"
_WHOLE = 16 << 20  # bytes of picture up to which it is compressed in one piece
BAND = 256  # rows of a larger one that are planned together
_STRIP = 1 << 20  # and the size of the pieces they are compressed in; fixed, so that threads do not change the file
_BLOCK, _APART = 8, 384  # rows at a time, and how far apart, that decide how the picture is written
_LEVEL, _DRAWING_LEVEL = 2, 6  # of libdeflate; on drawings, which shrink to a tenth, more trouble costs little time
_DRAWING = 0.1
_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
_METER = 0.0254
_ZLIB = b"\x78\x5e"  # deflate, a window of up to 32 KiB


def write(
    frames: Sequence[Samples],
    metadata: Metadata,
    durations_ms: Sequence[int] = (),
    loop: int = 0,
    executor: Executor | None = None,
) -> bytes:
    """The file of one frame, or of several as an APNG. Frames (H, W, C) are of one shape and dtype."""
    height, width, channels = frames[0].shape
    parts = _head(height, width, channels, frames[0].itemsize, metadata)
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


def _head(height: int, width: int, channels: int, itemsize: int, metadata: Metadata) -> list[bytes]:
    """The signature and the chunks before the picture."""
    header = struct.pack(">IIBBBBB", width, height, itemsize * 8, _COLOR_TYPES[channels], 0, 0, 0)
    return [SIGNATURE, chunk(b"IHDR", header), *_ancillary(metadata, channels)]


def _delay(milliseconds: int) -> tuple[int, int]:
    """Numerator and denominator of a frame's time in seconds, 16 bits each."""
    return (milliseconds, 1000) if milliseconds < 65536 else (min(milliseconds // 1000, 65535), 1)


def _ancillary(metadata: Metadata, channels: int) -> Iterable[bytes]:
    colors = 1 if channels <= 2 else 3
    if metadata.icc is not None and profile_channels(metadata.icc) == colors:
        yield chunk(b"iCCP", b"ICC profile\0\0", isal_zlib.compress(metadata.icc))
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
    """How a picture is written: which filters its rows choose from, and ISA-L's window as a power of two, if by ISA-L.

    Noise compresses better where no far match can be tried: a window of 512 bytes against one of 32 KiB. `tolerance`:
    how much larger than another it may make a sample, as it costs less time. `level` is libdeflate's. `drawing`: it is
    best left unfiltered, and shrinks to a tenth.
    """

    filters: tuple[int, ...]
    window: int | None = None
    tolerance: float = 1.01
    level: int = _LEVEL
    drawing: bool = False


# In the order of the time they take: ISA-L a third of what libdeflate's level 2 does, and level 1 two thirds.
_PLANS = (_Plan((NONE,)), _Plan((UP,)), _Plan((PAETH,)), _Plan(ADAPTIVE))
_WHOLE_PLANS = (_Plan(ADAPTIVE, window=9), _Plan(ADAPTIVE, level=1, tolerance=1.025), *_PLANS)
_STRIP_PLANS = tuple(replace(plan, window=window) for plan in _PLANS for window in (9, 15))


def _deflated_whole(raw: Bytes, level: int) -> bytes:
    """A zlib stream by libdeflate: the smallest for its time, but it can neither be continued nor made in parallel."""
    return bytes(imagecodecs.deflate_encode(raw, level))  # type: ignore[arg-type]  # any buffer will do


def _deflated_drawing(raw: Bytes) -> bytes:
    """A zlib stream by zlib-ng, which passes over long matches; libdeflate takes note of every byte in them."""
    return bytes(imagecodecs.zlibng_encode(raw, 5))  # type: ignore[arg-type]  # any buffer will do


def _deflated_strip(raw: Bytes, window: int, flush: int = isal_zlib.Z_FINISH) -> bytes:
    """A piece of raw deflate by ISA-L: three times as fast, about 4% larger. More memory makes it larger still."""
    deflate = isal_zlib.compressobj(2, isal_zlib.DEFLATED, -window, 3)
    return deflate.compress(raw) + deflate.flush(flush)


def _best_plan(rows: Bytes, step: int, whole: bool) -> _Plan:
    """The first plan that makes a sample of the rows as good as smallest."""
    last = max(0, rows.shape[0] - _BLOCK)
    tops = range(min(_APART // 2, last // 2), last + 1, _APART)
    plans = _WHOLE_PLANS if whole else _STRIP_PLANS
    sizes, raw_size = [], 1

    @cache
    def sample(filters: tuple[int, ...]) -> Bytes:
        return np.concatenate(
            [filtered(rows[top : top + _BLOCK], rows[top - 1] if top else None, step, filters) for top in tops]
        )

    for plan in plans:
        raw = sample(plan.filters)
        raw_size = raw.size
        body = _deflated_whole(raw, plan.level) if plan.window is None else _deflated_strip(raw, plan.window)
        sizes.append(len(body))
        if plan.filters == (UP,) and min(sizes) < min(len(body), _DRAWING * raw_size):
            break  # a drawing that Up only makes larger: so do the other filters
    best = next(plan for plan, size in zip(plans, sizes, strict=False) if size <= min(sizes) * plan.tolerance)
    if min(sizes) >= _DRAWING * raw_size:
        return best
    return replace(best, level=_DRAWING_LEVEL, drawing=best.filters == (NONE,))


def _compressed(samples: Samples, executor: Executor | None) -> list[bytes]:
    """The zlib stream of the filtered picture, in pieces."""
    rows, step = _rows(samples)
    if rows.size <= _WHOLE:
        plan = _best_plan(rows, step, whole=True)
        if plan.drawing:
            return [_deflated_drawing(unfiltered(rows))]
        raw = filtered(rows, None, step, plan.filters)
        if plan.window is None:
            return [_deflated_whole(raw, plan.level)]
        return [_ZLIB, _deflated_strip(raw, plan.window), struct.pack(">I", isal_zlib.adler32(raw))]
    stream = _Bands(len(rows), step)
    return [piece for top in range(0, len(rows), BAND) for piece in stream.add(rows[top : top + BAND], executor)]


def _rows(samples: Samples) -> tuple[Bytes, int]:
    """Samples (H, W, C) as rows of bytes (H, B), big-endian, and the bytes of a pixel."""
    wire = samples if samples.itemsize == 1 else samples.astype(">u2")
    return wire.view(np.uint8).reshape(len(samples), -1), samples.shape[2] * samples.itemsize


class _Bands:
    """The zlib stream of a large picture of `height` rows, a band at a time."""

    def __init__(self, height: int, step: int) -> None:
        self._left, self._step = height, step
        self._above: Bytes | None = None
        self._checksum = 1

    def add(self, rows: Bytes, executor: Executor | None) -> list[bytes]:
        """What the next rows add to the stream: BAND of them, or the last ones."""
        pieces = [] if self._above is not None else [_ZLIB]
        self._left -= len(rows)
        plan = _best_plan(rows, self._step, whole=False)
        count, window = max(1, _STRIP // rows.shape[1]), plan.window
        assert window is not None, "strips are ISA-L's"

        def strip(span: tuple[int, int]) -> tuple[bytes, int, int]:
            top, bottom = span
            raw = filtered(rows[top:bottom], rows[top - 1] if top else self._above, self._step, plan.filters)
            flush = isal_zlib.Z_FULL_FLUSH if self._left or bottom < len(rows) else isal_zlib.Z_FINISH
            return _deflated_strip(raw, window, flush), isal_zlib.adler32(raw), raw.size

        mapper: Callable[..., Iterable[tuple[bytes, int, int]]] = map if executor is None else executor.map
        for body, adler, size in mapper(strip, pairwise([*range(0, len(rows), count), len(rows)])):
            pieces.append(body)
            self._checksum = _adler32_joined(self._checksum, adler, size)
        self._above = rows[-1].copy()
        if not self._left:
            pieces.append(struct.pack(">I", self._checksum))
        return pieces


class PngStream:
    """The file of one large picture, from the top down: no more of the picture is held than the band being added."""

    def __init__(self, height: int, width: int, channels: int, itemsize: int, metadata: Metadata) -> None:
        self._file = io.BytesIO()  # gives its bytes out without another copy
        self._file.writelines(_head(height, width, channels, itemsize, metadata))
        self._bands = _Bands(height, channels * itemsize)

    @staticmethod
    def pays(height: int, width: int, channels: int, itemsize: int) -> bool:
        """Whether a picture is so large that it is compressed in bands."""
        return height * width * channels * itemsize > _WHOLE

    def add(self, samples: Samples, executor: Executor | None = None) -> None:
        """The next BAND rows, or the last ones."""
        rows, _ = _rows(samples)
        self._file.write(chunk(b"IDAT", *self._bands.add(rows, executor)))

    def finish(self) -> bytes:
        """The file; every row has been added."""
        self._file.write(chunk(b"IEND"))
        return self._file.getvalue()


def _adler32_joined(first: int, second: int, size: int) -> int:
    """Adler-32 of two pieces from theirs, the second being `size` bytes long (RFC 1950, section 8.2)."""
    base = 65521
    low = ((first & 0xFFFF) + (second & 0xFFFF) - 1) % base
    high = ((first >> 16) + (second >> 16) + size * ((first & 0xFFFF) - 1)) % base
    return high << 16 | low
