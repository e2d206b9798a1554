"""AVIF: the clean aperture, colours given by code points, and sequences of more than 8 bits."""

import io
import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from app.codec.edit_list import plays
from app.codec.reader import read
from app.codec.readers import avif
from app.codec.types import DecodeLimits
from tests.codec.support import Array, picture, wanted

CASE = (Path(__file__).parent / "cases" / "avif_clap_8.avif").read_bytes()
"""64x48 with a centred aperture of 40x30, moved right by 4 and down by 2."""

SEQUENCE = (Path(__file__).parent / "cases" / "avif_seq10.avif").read_bytes()
"""Three frames, the first of them red."""

LIMITED = (Path(__file__).parent / "cases" / "avif_seq10_limited.avif").read_bytes()
"""Four frames of a test card by avifenc, in BT.2020, PQ and limited range."""


def _decoded(data: bytes) -> Array:
    return read(data, wanted(2), DecodeLimits()).frames[0]


def _with_aperture(*values: int) -> bytes:
    at = CASE.index(b"clap") + 4
    return CASE[:at] + struct.pack(">8i", *values) + CASE[at + 32 :]


def _whole() -> Array:
    return np.asarray(Image.open(io.BytesIO(CASE)).convert("RGB"))


def test_the_clean_aperture_is_applied() -> None:
    assert np.array_equal(_decoded(CASE), _whole()[11:41, 16:56])


@pytest.mark.parametrize("bits", [8, 10])
def test_gray_with_alpha_stays_gray_and_its_samples_are_exact(bits: int) -> None:
    full = (1 << bits) - 1
    stored = np.random.default_rng(bits).integers(1, full, (40, 56, 2), np.uint16, endpoint=True)
    stored = stored.astype(np.uint8) if bits == 8 else stored
    decoded = _decoded(bytes(imagecodecs.avif_encode(stored, 100, bitspersample=bits)))
    assert np.array_equal(decoded, stored if bits == 8 else np.rint(stored * (65535 / full)))


def test_reversible_ycgco_is_exact() -> None:
    red, green, blue = np.moveaxis(picture(8, 16, 3).astype(int), 2, 0)
    orange = red - blue
    mean = blue + (orange >> 1)
    green_less = green - mean
    luma = mean + (green_less >> 1)
    # Coded as 10-bit RGB, whose planes are stored in the order green, blue, red.
    coded = np.stack([512 + orange, luma, 512 + green_less], axis=-1).astype(np.uint16)
    data = bytes(imagecodecs.avif_encode(coded, 100, bitspersample=10, pixelformat="444", matrix=0))
    at = data.index(b"nclx") + 8
    assert np.array_equal(_decoded(data[:at] + b"\0\x10" + data[at + 2 :]), np.stack([red, green, blue], axis=-1))


def _with_a_box_each(data: bytes) -> bytes:
    """An AVIF whose two pictures, colour and alpha, each have their properties in a separate `ipma` box."""
    at = data.index(b"ipma") - 4
    size, flags, count, first = struct.unpack_from(">I4xIIH", data, at)
    assert (flags, count, first) == (0, 2, 1)
    end = at + 18 + 1 + data[at + 18]
    apart = [
        struct.pack(">I4sII", 16 + len(part), b"ipma", 0, 1) + part
        for part in (data[at + 16 : end], data[end : at + size])
    ]
    grown = bytearray(data[:at] + b"".join(apart) + data[at + size :])
    for name in (b"meta", b"iprp"):
        place = grown.index(name) - 4
        struct.pack_into(">I", grown, place, struct.unpack_from(">I", grown, place)[0] + 16)
    place = grown.index(b"iloc") + 4
    assert bytes(grown[place : place + 8]) == struct.pack(">IBBH", 0, 0x44, 0, 2)
    for item in range(2):  # item ID, data reference, number of extents; then offset and length
        offset = place + 8 + 14 * item + 6
        struct.pack_into(">I", grown, offset, struct.unpack_from(">I", grown, offset)[0] + 16)
    return bytes(grown)


@pytest.mark.parametrize("bits", [8, 10])
def test_properties_may_be_in_separate_boxes(bits: int) -> None:
    samples = (picture(40, 56, 4).astype(np.uint16) << bits - 8).astype(np.uint8 if bits == 8 else np.uint16)
    data = bytes(imagecodecs.avif_encode(samples, 100, bitspersample=bits))
    apart = _with_a_box_each(data)
    with pytest.raises(imagecodecs.AvifError):
        imagecodecs.avif_decode(apart)
    assert np.array_equal(_decoded(apart), _decoded(data))


@pytest.mark.parametrize(
    ("aperture", "rows", "columns"),
    [
        ((64, 1, 48, 1, 0, 1, 0, 1), slice(0, 48), slice(0, 64)),
        ((1, 1, 1, 1, -63, 2, -47, 2), slice(0, 1), slice(0, 1)),
        ((1, 1, 1, 1, 63, 2, 47, 2), slice(47, 48), slice(63, 64)),
        ((80, 2, 60, 2, 8, 2, 4, 2), slice(11, 41), slice(16, 56)),
        ((39, 1, 29, 1, 1, 2, -1, 2), slice(9, 38), slice(13, 52)),
    ],
)
def test_fractional_apertures_and_those_at_the_edges_are_applied(
    aperture: tuple[int, ...], rows: slice, columns: slice
) -> None:
    assert np.array_equal(_decoded(_with_aperture(*aperture)), _whole()[rows, columns])


@pytest.mark.parametrize(
    "aperture",
    [
        (40, 0, 30, 1, 4, 1, 2, 1),
        (0, 1, 30, 1, 4, 1, 2, 1),
        (40, 1, 30, 1, 13, 1, 2, 1),
        (40, 1, 30, 1, -13, 1, 2, 1),
        (66, 1, 48, 1, 0, 1, 0, 1),
        (81, 2, 30, 1, 4, 1, 2, 1),
        (39, 1, 30, 1, 4, 1, 2, 1),
        (-1, 1, -1, 1, -(2**31), 1, 2**31 - 1, 1),
    ],
)
def test_invalid_apertures_are_ignored(aperture: tuple[Any, ...]) -> None:
    assert np.array_equal(_decoded(_with_aperture(*aperture)), _whole())


@pytest.mark.parametrize(
    ("primaries", "transfer", "expected"),
    [
        *((12, transfer, (193, 83, 51)) for transfer in (1, 2, 6, 13, 14, 15)),
        *((primaries, transfer, (180, 90, 60)) for primaries in (1, 2) for transfer in (1, 2, 6, 13, 14, 15)),
    ],
)
def test_code_points_are_converted_if_a_profile_describes_them(
    primaries: int, transfer: int, expected: tuple[int, int, int]
) -> None:
    """As in Chromium, the transfer characteristics of video, and unspecified ones, are treated as those of sRGB."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (180, 90, 60)).save(file, "AVIF", quality=100, subsampling="4:4:4")
    data = file.getvalue()
    at = data.index(b"nclx") + 4
    data = data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :]
    raster = read(data, wanted(2, color="srgb"), DecodeLimits())
    assert np.abs(raster.frames[0].astype(int) - expected).max() <= 2
    kept = read(data, wanted(2), DecodeLimits()).metadata
    assert kept.cicp == ((12, 13) if primaries == 12 else None)
    assert (kept.icc is not None) is (primaries == 12)


def test_frames_of_a_sequence_keep_ten_bits() -> None:
    y, x = np.mgrid[0:48, 0:64]
    film = [np.stack([(x * 16 + i * 50) % 1024, (y * 20 + i * 30) % 1024, 8 * (x + y)], -1) for i in range(3)]
    samples = np.stack(film).astype(np.uint16)
    data = bytes(imagecodecs.avif_encode(samples, 95, bitspersample=10, pixelformat="444", primaries=9, transfer=16))
    raster = read(data, wanted(2, frames="all"), DecodeLimits())
    assert raster.metadata.cicp == (9, 16)
    assert len(raster.frames) == 3
    for frame, expected in zip(raster.frames, samples, strict=True):
        assert frame.dtype == np.uint16
        assert np.abs(frame / 65535 - expected / 1023).mean() < 0.002
    (first,) = read(SEQUENCE, wanted(2, frames="first"), DecodeLimits()).frames
    assert np.array_equal(read(SEQUENCE, wanted(2, frames="all"), DecodeLimits()).frames[0], first)


def test_a_limited_range_sequence_keeps_ten_bits() -> None:
    """Pillow reads its blue up to 18 of 255 levels off, as libyuv lacks a constant for this conversion."""
    stored = np.asarray(imagecodecs.avif_decode(LIMITED))
    for frames in ("first", "all"):
        for frame, expected in zip(
            read(LIMITED, wanted(2, frames=frames), DecodeLimits()).frames, stored, strict=False
        ):
            assert frame.dtype == np.uint16
            assert np.abs(frame / 65535 - expected / 1023).max() < (0.001 if frames == "all" else 0.08)


@pytest.mark.parametrize("film", [np.full((3, 64, 64, 4), 900, np.uint16), np.zeros((3, 4, 4), np.uint16), None])
def test_a_sequence_that_differs_from_what_pillow_reads_is_not_used(
    film: Array | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(data: bytes) -> Array:
        if film is None:
            raise RuntimeError("no film")
        return film

    monkeypatch.setattr(imagecodecs, "avif_decode", other)
    raster = read(SEQUENCE, wanted(2, frames="all"), DecodeLimits())
    assert [frame.dtype for frame in raster.frames] == [np.uint8] * 3
    assert np.abs(raster.frames[0].astype(int) - (255, 0, 0, 255)).max() <= 1


def test_the_first_frame_of_a_sequence_keeps_ten_bits() -> None:
    (frame,) = read(SEQUENCE, wanted(2, frames="first"), DecodeLimits()).frames
    assert frame.dtype == np.uint16
    assert np.abs(frame / 257 - (255, 0, 0, 255)).max() <= 1


@pytest.mark.parametrize("cover", [np.full((64, 64, 4), 1000, np.uint16), np.zeros((4, 4, 4), np.uint16), None])
def test_a_primary_picture_that_differs_from_the_first_frame_is_not_used_for_it(
    cover: Array | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(data: bytes, bits: int) -> Array:
        if cover is None:
            raise RuntimeError("no primary picture")
        return cover

    monkeypatch.setattr(avif, "read", other)
    (frame,) = read(SEQUENCE, wanted(2, frames="first"), DecodeLimits()).frames
    assert frame.dtype == np.uint8
    assert np.abs(frame.astype(int) - (255, 0, 0, 255)).max() <= 1


def _box(kind: bytes, *body: bytes) -> bytes:
    content = b"".join(body)
    return struct.pack(">I", 8 + len(content)) + kind + content


def _movie(version: int, flags: int, whole: int, once: int) -> bytes:
    """A track that lasts `whole`, with an edit list that lasts `once` per play."""
    wide, long = (4, ">I") if version == 0 else (8, ">Q")
    header = _box(b"tkhd", bytes([version, 0, 0, 3]), bytes(2 * wide + 8), struct.pack(long, whole))
    head = bytes([version, 0, 0, flags]) + struct.pack(">I", 1)
    edits = _box(b"elst", head, struct.pack(long, once), struct.pack(long, 0), b"\0\1\0\0")
    return _box(b"ftyp", b"avis") + _box(b"moov", _box(b"trak", header, _box(b"edts", edits)))


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize(
    ("flags", "whole", "once", "expected"),
    [(1, 20, 5, 4), (1, 21, 5, 5), (1, 5, 5, 1), (0, 5, 5, 1), (1, -1, 5, 0), (1, 20, 0, 0), (1, 2**31, 1, 0)],
)
def test_the_loop_count_is_read_from_the_edit_list(
    version: int, flags: int, whole: int, once: int, expected: int
) -> None:
    whole = whole if whole >= 0 else 2 ** (64 if version else 32) - 1
    assert plays(_movie(version, flags, whole, once)) == expected


@pytest.mark.parametrize("cut", range(0, 120, 8))
def test_a_sequence_without_an_edit_list_loops_forever(cut: int) -> None:
    movie = _movie(1, 1, 20, 5)
    assert plays(movie[:cut]) in (0, 4)
    assert plays(movie.replace(b"elst", b"free")) == plays(b"") == 0


def test_the_loop_count_of_a_sequence_is_kept() -> None:
    images, file = [Image.fromarray(picture(16, 16, 3, seed=seed)) for seed in range(2)], io.BytesIO()
    images[0].save(file, "AVIF", save_all=True, append_images=images[1:], duration=50)
    film, whole = file.getvalue(), b"\xff" * 8  # Pillow writes an endless loop
    at, edits = film.index(whole, film.index(b"tkhd")), film.index(b"elst") + 12
    thrice = 3 * int.from_bytes(film[edits : edits + 8], "big")
    for data, expected in [(film, 0), (film[:at] + thrice.to_bytes(8, "big") + film[at + 8 :], 3)]:
        assert read(data, wanted(2, frames="all"), DecodeLimits()).loop == expected
