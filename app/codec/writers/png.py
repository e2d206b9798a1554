"""A PNG writer: 8 and 16 bits, gray or RGB, with or without alpha, and animations."""

import io
import struct
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import BinaryIO

import numpy as np
from isal import isal_zlib

from app.codec import png_color
from app.codec.color_management import SRGB_CHROMATICITIES, SRGB_GAMMA, for_channels
from app.codec.deflate import huffman, isal, libdeflate, zlib_ng
from app.codec.metadata.png import iptc_text
from app.codec.native import library
from app.codec.png_chunks import SIGNATURE, chunk, chunk_parts
from app.codec.png_filters import ADAPTIVE, NONE, filtered, unfiltered
from app.codec.raster import Raster
from app.codec.types import Bytes, Metadata, Samples
from app.options import UpscaleOptions

_WHOLE = 16 << 20  # bytes of picture up to which it is compressed in one piece
_BAND = 256  # rows of a larger one that are planned together
_STRIP = 1 << 20  # and the size of the pieces they are compressed in; fixed, so that threads do not change the file
_BLOCK, _APART = 8, 384  # rows at a time, and how far apart, that decide how the picture is written
_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
_METER = 0.0254
_ZLIB = b"\x78\x5e"  # deflate, a window of up to 32 KiB


def write(raster: Raster, options: UpscaleOptions, executor: Executor | None = None) -> bytes:
    """The file of one frame, or of several as an APNG; the threads of `executor` compress a large one."""
    frames = raster.frames
    height, width, channels = frames[0].shape
    parts = _head(height, width, channels, frames[0].itemsize, raster.metadata)
    if len(frames) == 1:
        parts += chunk_parts(b"IDAT", *_compressed(frames[0], executor))
    else:
        parts.append(chunk(b"acTL", struct.pack(">II", len(frames), raster.loop)))
        sequence = 0
        for index, (frame, duration) in enumerate(zip(frames, raster.durations_ms, strict=True)):
            delay = struct.pack(">HHBB", *_delay(duration), 0, 0)
            parts.append(chunk(b"fcTL", struct.pack(">IIIII", sequence, width, height, 0, 0) + delay))
            body = _compressed(frame, executor)
            if index == 0:
                parts += chunk_parts(b"IDAT", *body)
            else:
                parts += chunk_parts(b"fdAT", struct.pack(">I", sequence + 1), *body)
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
    yield from png_color.written(metadata)
    if (icc := for_channels(metadata.icc, channels)) is not None:
        yield chunk(b"iCCP", b"ICC profile\0\0", isal_zlib.compress(icc))
    elif metadata.srgb:
        yield chunk(b"sRGB", b"\1")  # relative colorimetric, the intent of the conversion
    elif metadata.gamma:
        yield chunk(b"cHRM", struct.pack(">8I", *(round(100_000 * value) for value in SRGB_CHROMATICITIES)))
        yield chunk(b"gAMA", struct.pack(">I", round(100_000 * SRGB_GAMMA)))
    if metadata.dpi is not None:
        vertical, horizontal = (min(2**31 - 1, max(1, round(value / _METER))) for value in metadata.dpi)
        yield chunk(b"pHYs", struct.pack(">IIB", horizontal, vertical, 1))
    if metadata.exif is not None:
        yield chunk(b"eXIf", metadata.exif)
    if metadata.xmp is not None:
        yield chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0", metadata.xmp)
    if metadata.iptc is not None:
        yield chunk(b"zTXt", *iptc_text(metadata.iptc))


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a picture is written: which filters its rows choose from, and who compresses them.

    `worth`: by what factor its file has to be smaller than that of the fastest, which takes a fraction of the time.
    """

    filters: tuple[int, ...]
    compress: Callable[..., bytes]
    worth: float = 1.0


_HUFFMAN_PLAN = _Plan(ADAPTIVE, huffman)
_ISAL_PLAN = _Plan(ADAPTIVE, partial(isal, level=2), 1.07)
_FLAT_FAST_PLAN = _Plan((NONE,), partial(isal, level=2), 1.07)
# Only for the whole picture.
_SMALL_PLAN, _FLAT_SMALL_PLAN = (_Plan(filters, partial(libdeflate, level=2), 1.12) for filters in (ADAPTIVE, (NONE,)))
_FLAT = 0.3  # of its bytes: what becomes so small may be smaller still unfiltered
_DRAWING = 0.1  # and on what becomes so small, more trouble costs little time
_DRAWING_PLAN, _FLAT_DRAWING_PLAN = (
    _Plan(ADAPTIVE, partial(libdeflate, level=6)),
    _Plan((NONE,), partial(zlib_ng, level=5)),
)


def _best_plan(rows: Bytes, step: int, whole: bool) -> _Plan:
    """The plan for a picture as a whole or for pieces that makes the least of a sample, fast ones being favoured."""
    last = max(0, rows.shape[0] - _BLOCK)
    tops = range(min(_APART // 2, last // 2), last + 1, _APART)

    def sample(filters: tuple[int, ...]) -> Bytes:
        return np.concatenate(
            [filtered(rows[top : top + _BLOCK], rows[top - 1] if top else None, step, filters) for top in tops]
        )

    def best() -> _Plan:
        return min(sizes, key=lambda plan: sizes[plan] * plan.worth)

    raw = sample(ADAPTIVE)
    plans = [_ISAL_PLAN] if library() is None else [_HUFFMAN_PLAN, _ISAL_PLAN]
    sizes = {plan: len(plan.compress(raw)) for plan in plans}
    if whole and best() is _ISAL_PLAN:  # there are matches to be found
        sizes[_SMALL_PLAN] = len(_SMALL_PLAN.compress(raw))
    if min(sizes.values()) < _FLAT * raw.size:
        flat = _FLAT_SMALL_PLAN if whole else _FLAT_FAST_PLAN
        sizes[flat] = len(flat.compress(sample(flat.filters)))
        if whole and min(sizes.values()) < _DRAWING * raw.size:
            return _FLAT_DRAWING_PLAN if sizes[flat] == min(sizes.values()) else _DRAWING_PLAN
    return best()


def _compressed(samples: Samples, executor: Executor | None) -> list[bytes]:
    """The zlib stream of the filtered picture, in pieces."""
    rows, step = _rows(samples)
    if rows.size <= _WHOLE:
        plan = _best_plan(rows, step, whole=True)
        raw = unfiltered(rows) if plan is _FLAT_DRAWING_PLAN else filtered(rows, None, step, plan.filters)
        return [_ZLIB, plan.compress(raw), struct.pack(">I", isal_zlib.adler32(raw))]
    stream = _Bands(len(rows), step)
    return [piece for top in range(0, len(rows), _BAND) for piece in stream.add(rows[top : top + _BAND], executor)]


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
        """What the next rows add to the stream: _BAND of them, or the last ones."""
        pieces = [] if self._above is not None else [_ZLIB]
        self._left -= len(rows)
        plan = _best_plan(rows, self._step, whole=False)
        count = max(1, _STRIP // rows.shape[1])

        def strip(span: tuple[int, int]) -> tuple[bytes, int, int]:
            top, bottom = span
            raw = filtered(rows[top:bottom], rows[top - 1] if top else self._above, self._step, plan.filters)
            last = not self._left and bottom == len(rows)
            return plan.compress(raw, last=last), isal_zlib.adler32(raw), raw.size

        mapper: Callable[..., Iterable[tuple[bytes, int, int]]] = map if executor is None else executor.map
        for body, adler, size in mapper(strip, pairwise([*range(0, len(rows), count), len(rows)])):
            pieces.append(body)
            self._checksum = _adler32_joined(self._checksum, adler, size)
        self._above = rows[-1].copy()
        if not self._left:
            pieces.append(struct.pack(">I", self._checksum))
        return pieces


def stream(
    height: int, width: int, channels: int, itemsize: int, metadata: Metadata, file: BinaryIO | None = None
) -> "PngStream | None":
    """The file of a picture from the top down; None if it is so small that it is compressed in one piece.

    It is written to `file` if there is one.
    """
    large = height * width * channels * itemsize > _WHOLE
    return PngStream(height, width, channels, itemsize, metadata, file) if large else None


class PngStream:
    """The file of one large picture, from the top down: no more of the picture is held than the band being added."""

    band = _BAND

    def __init__(
        self, height: int, width: int, channels: int, itemsize: int, metadata: Metadata, file: BinaryIO | None = None
    ) -> None:
        self._memory = io.BytesIO()  # gives its bytes out without another copy
        self._file: BinaryIO = self._memory if file is None else file
        self._file.writelines(_head(height, width, channels, itemsize, metadata))
        self._bands = _Bands(height, channels * itemsize)

    def add(self, samples: Samples, executor: Executor | None = None) -> None:
        """The next `band` rows, or the last ones."""
        rows, _ = _rows(samples)
        self._file.writelines(chunk_parts(b"IDAT", *self._bands.add(rows, executor)))

    def end(self) -> None:
        """Completes the file; every row has been added."""
        self._file.write(chunk(b"IEND"))

    def finish(self) -> bytes:
        """The file, unless it is the caller's; every row has been added."""
        self.end()
        return self._memory.getvalue()


def _adler32_joined(first: int, second: int, size: int) -> int:
    """Adler-32 of two pieces from theirs, the second being `size` bytes long (RFC 1950, section 8.2)."""
    base = 65521
    low = ((first & 0xFFFF) + (second & 0xFFFF) - 1) % base
    high = ((first >> 16) + (second >> 16) + size * ((first & 0xFFFF) - 1)) % base
    return high << 16 | low
