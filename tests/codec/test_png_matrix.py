"""Every kind of PNG, as in PngSuite: colour type x depth x interlacing x transparency, read exactly."""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.codec.reader import read
from app.codec.types import DecodeLimits
from tests.codec.png_reference import CHANNELS, DEPTHS, Array, write_png
from tests.codec.support import assert_same, pixels, upscaled, wanted

HEIGHT, WIDTH = 11, 13


def _cases() -> Iterator[tuple[int, int, bool, bool]]:
    for color_type, depths in DEPTHS.items():
        for depth in depths:
            for interlaced in (False, True):
                yield color_type, depth, interlaced, False
                if color_type in (0, 2, 3):
                    yield color_type, depth, interlaced, True


def _made(color_type: int, depth: int, interlaced: bool, transparent: bool) -> tuple[bytes, Array]:
    """The file and the expected samples."""
    rng = np.random.default_rng(depth * 8 + color_type)
    full = (1 << depth) - 1
    shape = (HEIGHT, WIDTH, CHANNELS[color_type])
    stored = rng.integers(0, full, shape, endpoint=True)
    extra = []
    if color_type == 3:
        palette = rng.integers(0, 255, (full + 1, 3), dtype=np.uint8, endpoint=True)
        extra.append((b"PLTE", palette.tobytes()))
        expected = palette[stored[..., 0]]
        if transparent:
            alphas = np.full(full + 1, 255, np.uint8)
            alphas[: full // 2 + 1] = rng.integers(0, 254, full // 2 + 1)
            extra.append((b"tRNS", alphas[: full // 2 + 1].tobytes()))
            expected = np.concatenate([expected, alphas[stored]], axis=2)
    else:
        dtype, top = (np.uint16, 65535) if depth == 16 else (np.uint8, 255)
        expected = (stored * (top // full)).astype(dtype)
        if transparent:
            key = stored[4, 6]
            extra.append((b"tRNS", struct.pack(f">{len(key)}H", *key)))
            alpha = np.where((stored == key).all(axis=2, keepdims=True), 0, top).astype(dtype)
            expected = np.concatenate([expected, alpha], axis=2)
    return write_png(stored, color_type, depth, interlaced=interlaced, extra=extra), expected


@pytest.mark.parametrize(("color_type", "depth"), [(0, 1), (0, 2), (0, 4), (0, 8), (2, 8)])
def test_only_the_low_bits_of_a_transparent_colour_count(color_type: int, depth: int) -> None:
    """By the third edition of the specification, bits beyond the depth are ignored."""
    full = (1 << depth) - 1
    stored = np.random.default_rng(depth).integers(0, full, (9, 13, 1 if color_type == 0 else 3), endpoint=True)
    key = stored[4, 6]
    file = write_png(stored, color_type, depth, extra=[(b"tRNS", struct.pack(f">{len(key)}H", *(key | 0xFF00)))])
    _, encoded = upscaled(file)
    expected = np.where((stored == key).all(axis=2), 0, 255)
    assert (pixels(encoded.body)[..., -1] == expected).all()


def test_a_sixteen_bit_transparent_white_applies_to_eight_bits() -> None:
    data = (Path(__file__).parent / "cases" / "trns_rgb_ffff.png").read_bytes()
    samples = read(data, wanted(scale=2), DecodeLimits()).frames[0]
    white = (samples[..., :3] == 255).all(axis=2)
    assert white.any()
    assert (samples[white][:, 3] == 0).all()


@pytest.mark.parametrize(("color_type", "depth", "interlaced", "transparent"), list(_cases()))
def test_every_kind_of_png_is_read_exactly(color_type: int, depth: int, interlaced: bool, transparent: bool) -> None:
    data, expected = _made(color_type, depth, interlaced, transparent)
    decoded, encoded = upscaled(data)
    assert decoded.depth == (16 if depth == 16 else 8)
    actual = pixels(encoded.body)
    if expected.shape[2] in (2, 4):  # the colour of invisible pixels is not specified
        assert (actual[..., -1] == expected[..., -1]).all()
        hidden = expected[..., -1] == 0
        actual[hidden] = expected[hidden]
    assert_same(actual, expected, f"png-{color_type}-{depth}-{interlaced}-{transparent}", data)
