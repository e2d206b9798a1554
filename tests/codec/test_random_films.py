"""Random APNGs and GIFs, against a compositor that follows their specifications pixel by pixel, in exact fractions."""

import struct
import zlib
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.codec import reader
from app.codec.types import DecodeLimits
from app.options import UpscaleOptions

Pixels = NDArray[np.int64]
"""(H, W, C); the last channel is alpha."""

HALF = Fraction(1, 2)


def shown(data: bytes) -> list[Pixels]:
    """The frames as the codec composes them, with alpha; invisible pixels are zero."""
    frames = []
    for frame in reader.read(data, UpscaleOptions(frames="all"), DecodeLimits()).frames:
        values = frame.astype(np.int64)
        if frame.shape[2] in (1, 3):
            values = np.dstack((values, np.full(values.shape[:2], np.iinfo(frame.dtype).max)))
        frames.append(without_hidden(values))
    return frames


def without_hidden(frame: Pixels) -> Pixels:
    return np.where(frame[..., -1:] > 0, frame, 0)


def place(rng: np.random.Generator, height: int, width: int, whole: bool) -> tuple[int, int, int, int]:
    """(top, left, height, width) of a frame inside the canvas."""
    if whole:
        return 0, 0, height, width
    high, wide = int(rng.integers(1, height + 1)), int(rng.integers(1, width + 1))
    return int(rng.integers(height - high + 1)), int(rng.integers(width - wide + 1)), high, wide


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def over(upper: Any, lower: Any, full: int) -> list[int]:
    """One pixel over another. (PNG, third edition, 13.16.)"""
    alpha = Fraction(int(upper[-1]), full)
    below = Fraction(int(lower[-1]), full) * (1 - alpha)
    total = alpha + below
    if not total:
        return [0] * len(upper)
    colors = [(int(a) * alpha + int(b) * below) / total for a, b in zip(upper[:-1], lower[:-1], strict=True)]
    return [int(value + HALF) for value in (*colors, total * full)]


def random_apng(rng: np.random.Generator) -> tuple[bytes, list[Pixels]]:
    """An APNG in RGBA of 8 or 16 bits, and the frames that a viewer shows."""
    height, width = map(int, rng.integers(1, 9, 2))
    depth, count = int(rng.choice([8, 16])), int(rng.integers(2, 7))
    full = (1 << depth) - 1
    values = np.append(rng.integers(0, full + 1, 4), (0, full))
    parts = [
        b"\x89PNG\r\n\x1a\n",
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 6, 0, 0, 0)),
        chunk(b"acTL", struct.pack(">II", count, 0)),
    ]
    canvas, seen, sequence = np.zeros((height, width, 4), np.int64), [], 0
    for index in range(count):
        top, left, high, wide = place(rng, height, width, whole=index == 0)
        dispose, blend = int(rng.integers(3)), int(rng.integers(2))
        frame = rng.choice(values, (high, wide, 4))
        rows = frame.astype(">u2" if depth == 16 else ">u1")
        data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
        control = struct.pack(">IIIIIHHBB", sequence, wide, high, left, top, 1, 10, dispose, blend)
        parts.append(chunk(b"fcTL", control))
        parts.append(chunk(b"fdAT", struct.pack(">I", sequence + 1) + data) if index else chunk(b"IDAT", data))
        sequence += 2 if index else 1
        before = canvas.copy()
        for y, x in np.ndindex(high, wide):
            at = top + y, left + x
            canvas[at] = over(frame[y, x], canvas[at], full) if blend else frame[y, x]
        seen.append(without_hidden(canvas))
        if dispose == 1:
            canvas[top : top + high, left : left + wide] = 0
        elif dispose == 2:
            canvas = before
    return b"".join([*parts, chunk(b"IEND", b"")]), seen


def lzw(indices: NDArray[Any]) -> bytes:
    """LZW data of literal 9-bit codes, with a clear code before they would grow."""
    codes = [256]
    for number, value in enumerate(indices.tolist()):
        codes += [256, value] if number and not number % 200 else [value]
    bits = sum(code << 9 * at for at, code in enumerate([*codes, 257]))
    body = bits.to_bytes(-(-9 * (len(codes) + 1) // 8), "little")
    blocks = [body[at : at + 255] for at in range(0, len(body), 255)]
    return b"\x08" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def random_gif(rng: np.random.Generator) -> tuple[bytes, list[Pixels]]:
    """A GIF of frames with local or global palettes, some interlaced, and the frames that a viewer shows."""
    height, width = map(int, rng.integers(1, 9, 2))
    common, background = rng.random() < 0.8, int(rng.integers(8))
    palette = rng.integers(0, 256, (8, 3))
    parts = [b"GIF89a" + struct.pack("<HHBBB", width, height, 0x82 if common else 0, background, 0)]
    parts += [palette.astype(np.uint8).tobytes()] if common else []
    canvas, seen = np.zeros((height, width, 4), np.int64), []
    for index in range(int(rng.integers(2, 7))):
        top, left, high, wide = place(rng, height, width, whole=rng.random() < 0.3)
        disposal, own, interlaced = int(rng.integers(4)), not common or rng.random() < 0.4, rng.random() < 0.3
        hidden = int(rng.integers(8)) if rng.random() < 0.5 else None
        colors = rng.integers(0, 256, (8, 3)) if own else palette
        frame = rng.integers(0, 8, (high, wide))
        parts.append(
            b"\x21\xf9\x04" + struct.pack("<BHB", disposal << 2 | (hidden is not None), 5, hidden or 0) + b"\0"
        )
        parts.append(b"," + struct.pack("<HHHHB", left, top, wide, high, 0x82 * own | 0x40 * interlaced))
        parts += [colors.astype(np.uint8).tobytes()] if own else []
        passes = [*range(0, high, 8), *range(4, high, 8), *range(2, high, 4), *range(1, high, 2)]
        parts.append(lzw(frame[passes if interlaced else range(high)].ravel()))
        empty = (0, 0, 0, 0) if hidden is not None or not common else (*palette[background], 255)
        if index == 0:
            canvas[:] = empty
        before = canvas.copy()
        for y, x in np.ndindex(high, wide):
            if frame[y, x] != hidden:
                canvas[top + y, left + x] = (*colors[frame[y, x]], 255)
        seen.append(without_hidden(canvas))
        if disposal == 2 or (disposal == 3 and index == 0):  # there is no frame before the first
            canvas[top : top + high, left : left + wide] = empty
        elif disposal == 3:
            canvas = before
    return b"".join([*parts, b";"]), seen


@pytest.mark.parametrize("seed", range(40))
def test_an_apng_is_composed_as_specified(seed: int) -> None:
    data, expected = random_apng(np.random.default_rng(seed))
    for frame, reference in zip(shown(data), expected, strict=True):
        np.testing.assert_allclose(frame, reference, rtol=0, atol=1)  # halves may be rounded down


@pytest.mark.parametrize("seed", range(40))
def test_a_gif_is_composed_as_specified(seed: int) -> None:
    data, expected = random_gif(np.random.default_rng(seed))
    for frame, reference in zip(shown(data), expected, strict=True):
        np.testing.assert_array_equal(frame, reference)
