"""PNGs with misplaced or unexpected chunks: read if the pixels are unambiguous, otherwise refused."""

import struct
import zlib

import numpy as np
import pytest

from app.codec.reader import read
from app.codec.types import DecodeLimits
from app.errors import UndecodablePicture
from tests.codec.png_reference import chunk, chunks, write_png
from tests.codec.support import Array, assert_same, picture, pixels, upscaled, wanted

LIMITS = DecodeLimits()
LATE = {
    b"tRNS": bytes((0, 10, 0, 20, 0, 30)),
    b"gAMA": struct.pack(">I", 100_000),
    b"cHRM": struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000),
    b"cICP": bytes((9, 16, 0, 1)),
    b"sRGB": b"\0",
    b"iCCP": b"x\0\0" + zlib.compress(b"no profile"),
}


def _samples() -> Array:
    samples = picture(9, 7, 3)
    samples[0, 0] = (10, 20, 30)
    return samples


def _joined(parts: list[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, body) for kind, body in parts)


def _with(data: bytes, kind: bytes, body: bytes, before: bytes) -> bytes:
    parts = list(chunks(data))
    at = [name for name, _ in parts].index(before)
    return _joined([*parts[:at], (kind, body), *parts[at:]])


@pytest.mark.parametrize("kind", LATE)
@pytest.mark.parametrize("depth", [8, 16])
def test_colour_and_transparency_chunks_after_the_picture_are_ignored(kind: bytes, depth: int) -> None:
    samples = _samples() if depth == 8 else _samples().astype(np.uint16)
    data = _with(write_png(samples, 2, depth), kind, LATE[kind], b"IEND")
    decoded, encoded = upscaled(data)
    assert_same(pixels(encoded.body), samples, "late")
    assert {name for name, _ in chunks(encoded.body)} == {b"IHDR", b"IDAT", b"IEND"}
    assert decoded.metadata.dropped == (f"{kind.decode()} dropped (misplaced)",)


def test_the_first_of_two_contradictory_chunks_counts() -> None:
    data = _with(write_png(_samples(), 2, 8), b"gAMA", LATE[b"gAMA"], b"IDAT")
    twice = _with(data, b"gAMA", struct.pack(">I", 45455), b"IDAT")
    first, second = (read(file, wanted(2, color="srgb"), LIMITS) for file in (data, twice))
    assert np.array_equal(first.frames[0], second.frames[0])
    assert second.metadata.dropped == ("gAMA dropped (misplaced)",)


@pytest.mark.parametrize("kind", [b"gAMA", b"cHRM", b"sRGB", b"pHYs"])
@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
def test_chunks_that_are_too_short_are_ignored(kind: bytes, before: bytes) -> None:
    samples = _samples()
    decoded, encoded = upscaled(_with(write_png(samples, 2, 8), kind, b"", before))
    assert_same(pixels(encoded.body), samples, "short")
    assert decoded.metadata.dropped in (
        (f"{kind.decode()} dropped (damaged)",),
        (f"{kind.decode()} dropped (misplaced)",),
    )


@pytest.mark.parametrize("kind", [b"tEXt", b"tIME", b"prVt"])
def test_chunks_that_may_follow_the_picture_are_not_reported(kind: bytes) -> None:
    data = _with(write_png(_samples(), 2, 8), kind, b"Author\0me", b"IEND")
    assert read(data, wanted(2), LIMITS).metadata.dropped == ()


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
def test_an_unknown_critical_chunk_is_refused_by_name(depth: int, before: bytes) -> None:
    samples = _samples() if depth == 8 else _samples().astype(np.uint16)
    data = _with(write_png(samples, 2, depth), b"QRSt", b"?", before)
    with pytest.raises(UndecodablePicture, match="chunk 'QRSt' is unknown, and its name says"):
        read(data, wanted(2), LIMITS)
    raster = read(data, wanted(2, truncated="allow"), LIMITS)
    assert raster.truncated
    assert np.array_equal(raster.frames[0], samples)


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE"])
def test_two_headers_or_palettes_are_refused(kind: bytes) -> None:
    palette = (b"PLTE", bytes(range(12)))
    data = write_png(picture(9, 7, 1) % 4, 3, 8, extra=[palette])
    with pytest.raises(UndecodablePicture, match=f"more than one chunk '{kind.decode()}'"):
        read(_with(data, kind, dict(chunks(data))[kind], b"IDAT"), wanted(2), LIMITS)


@pytest.mark.parametrize("depth", [8, 16])
def test_picture_data_interrupted_by_other_chunks_is_complete(depth: int) -> None:
    samples = _samples() if depth == 8 else _samples().astype(np.uint16)
    parts = dict(chunks(write_png(samples, 2, depth)))
    body, header = parts[b"IDAT"], (b"IHDR", parts[b"IHDR"])
    apart = [header, (b"IDAT", body[:50]), (b"tEXt", b"a\0b"), (b"IDAT", body[50:]), (b"IEND", b"")]
    raster = read(_joined(apart), wanted(2), LIMITS)
    assert np.array_equal(raster.frames[0], samples)
    assert not raster.truncated


@pytest.mark.parametrize("depth", [8, 16])
def test_unknown_ancillary_chunks_are_skipped_whatever_their_name(depth: int) -> None:
    samples = _samples() if depth == 8 else _samples().astype(np.uint16)
    data = _with(write_png(samples, 2, depth), b"x1\0~", b"?", b"IDAT")
    assert np.array_equal(read(data, wanted(2), LIMITS).frames[0], samples)


def test_a_png_of_apples_variant_is_refused_with_a_clear_message() -> None:
    data = _with(write_png(_samples(), 2, 8), b"CgBI", b"P\0 \2", b"IHDR")
    for options in (wanted(2), wanted(2, truncated="allow")):
        with pytest.raises(UndecodablePicture, match=r"Apple's own variant \(CgBI\).*pngcrush"):
            read(data, options, LIMITS)
