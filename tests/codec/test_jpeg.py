"""Damage to a JPEG is detected by libjpeg's warnings, trailing data is not damage, and scans are limited."""

import io
import itertools
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from app.codec.limits import MAX_SCANS
from app.codec.readers.jpeg import scans_of, segments_of, zeroed
from app.errors import UndecodablePicture
from tests.codec.support import assert_same, codec, picture, pixels, saved, upscaled, wanted

CASES = Path(__file__).parent / "cases"
ALLOW = wanted(scale=2, truncated="allow")
KINDS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "4:4:4": {"subsampling": 0},
    "restart markers": {"restart_marker_blocks": 5},
}


def jpeg(mode: str = "RGB", **settings: Any) -> bytes:
    """A JPEG of a noisy ramp of 160 x 160, so that every block holds data."""
    rows, columns = np.indices((160, 160))
    noise = np.random.default_rng(0).normal(0, 8, (160, 160, 3))
    samples = np.stack([rows, columns, (rows + columns) // 2], axis=-1) + noise
    image = Image.fromarray(samples.clip(0, 255).astype(np.uint8)).convert(mode)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85, **settings)
    return file.getvalue()


def zeros(data: bytes, count: int) -> bytes:
    half = len(data) // 2
    return data[:half] + bytes(count) + data[half + count :]


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "cut in half": lambda data: data[: len(data) // 2],
    "without its end marker": lambda data: data[:-2],
    "zeros to the end": lambda data: zeros(data, len(data) - len(data) // 2),
    "a piece missing": lambda data: data[: len(data) // 2] + data[-2:],
}
WHOLE: dict[str, Callable[[bytes], bytes]] = {
    "as it is": lambda data: data,
    "followed by noise": lambda data: data + np.random.default_rng(1).bytes(500),
    "followed by a film with markers in it": lambda data: data + b"ftypmp42" + b"\xff\xda\xff\xd8" * 400,
    "followed by a second JPEG": lambda data: data + data[: len(data) // 2],
    "padded before its end marker": lambda data: data[:-2] + bytes(7) + data[-2:],
    "with fill bytes before its end marker": lambda data: data[:-2] + b"\xff" * 5 + data[-2:],
}


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", DAMAGED)
def test_damage_is_refused_or_reported_as_truncated(damage: str, kind: str, mode: str) -> None:
    data = DAMAGED[damage](jpeg(mode, **KINDS[kind]))
    with pytest.raises(UndecodablePicture, match=r"The JPEG is damaged: .*truncated=allow"):
        codec().decode(data, wanted(scale=2))
    assert codec().decode(data, ALLOW).truncated


@pytest.mark.parametrize("kind", ["baseline", "4:4:4", "restart markers"])
def test_zeros_in_the_middle_are_damage(kind: str) -> None:
    data = zeros(jpeg(**KINDS[kind]), 200)
    with pytest.raises(UndecodablePicture, match="The JPEG is damaged"):
        codec().decode(data, wanted(scale=2))
    assert codec().decode(data, ALLOW).truncated


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", ["baseline", "4:4:4", "restart markers"])
def test_zeros_that_libjpeg_accepts_are_damage(kind: str, seed: int) -> None:
    """A disk sector that was never written leaves such zeros, and the data after them may decode normally."""
    whole = jpeg(**KINDS[kind])
    at = int(np.random.default_rng(seed).integers(len(whole) // 4, len(whole) - 100))
    data = whole[:at] + bytes(40) + whole[at + 40 :]
    assert zeroed(data)
    with pytest.raises(UndecodablePicture, match="The JPEG is damaged"):
        codec().decode(data, wanted(scale=2))
    assert codec().decode(data, ALLOW).truncated


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("optimize", [False, True])
def test_flat_areas_coded_as_zeros_are_not_damage(mode: str, optimize: bool) -> None:
    samples = np.full((400, 400), 128, np.uint8)
    samples[:40, :40] = np.arange(40) * 5
    file = io.BytesIO()
    Image.fromarray(samples).convert(mode).save(file, "JPEG", quality=90, optimize=optimize)
    assert not zeroed(file.getvalue())
    if optimize and mode == "L":
        assert bytes(32) in file.getvalue(), "there are zeros to be mistaken"
    assert not codec().decode(file.getvalue(), ALLOW).truncated


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tail", WHOLE)
def test_undamaged_pictures_are_complete(tail: str, kind: str, mode: str) -> None:
    data = WHOLE[tail](jpeg(mode, **KINDS[kind]))
    expected = codec().decode(jpeg(mode, **KINDS[kind]), wanted(scale=2)).frames[0]
    for options in (wanted(scale=2), ALLOW):
        decoded = codec().decode(data, options)
        assert not decoded.truncated
        np.testing.assert_array_equal(decoded.frames[0].luma, expected.luma)


def test_published_jpegs_are_complete(bench_dir: Path) -> None:
    files = sorted((bench_dir.parent / "train").glob("bsds500_*/*.jpg"))
    assert len(files) > 300
    for file in files:
        assert not codec().decode(file.read_bytes(), ALLOW).truncated, file.name


def test_a_tail_of_zeros_is_damage() -> None:
    data = (CASES / "jpg_zero_tail.jpg").read_bytes()
    with pytest.raises(UndecodablePicture, match="damaged"):
        codec().decode(data, wanted(scale=2))
    assert codec().decode(data, ALLOW).truncated


def test_a_motion_photo_is_complete() -> None:
    assert not codec().decode((CASES / "jpg_trailing_mp4_allow.jpg").read_bytes(), ALLOW).truncated


def test_a_thousand_scans_are_refused() -> None:
    data = jpeg("L", progressive=True)
    scans, end = scans_of(data)
    assert (1 < scans < 20, end) == (True, len(data))
    at = data.rindex(b"\xff\xda")
    last = data[at:-2]
    with pytest.raises(UndecodablePicture, match="more than 100 scans"):
        codec().decode(data[:-2] + last * 1000 + data[-2:], wanted(scale=2))
    enough = data[:-2] + last * (MAX_SCANS - scans) + data[-2:]
    assert scans_of(enough)[0] == MAX_SCANS


def test_the_number_of_segments_that_are_read_is_limited() -> None:
    """They may be four bytes long, so a file of the maximum size could have eight million."""
    walk = segments_of(b"\xff\xd8" + b"\xff\xfe\0\2" * 65_537)
    assert [segment.kind for segment in itertools.islice(walk, 65_536)] == [0xFE] * 65_536
    with pytest.raises(UndecodablePicture, match="more than 65,536 segments"):
        next(walk)


def test_markers_inside_segments_are_not_counted_as_scans() -> None:
    thumbnail = saved(np.zeros((8, 8, 3), np.uint8), "JPEG")
    comment = b"\xff\xfe" + (2 + len(thumbnail)).to_bytes(2, "big") + thumbnail
    data = jpeg()
    assert scans_of(data[:2] + comment * 150 + data[2:]) == (1, len(data) + 150 * len(comment))


JPEGS_NOT_READ: dict[str, tuple[Callable[[], bytes], str]] = {
    "12 bits": (
        lambda: bytes(imagecodecs.jpeg8_encode(np.zeros((8, 8, 3), np.uint16), 90, bitspersample=12)),
        r"\(baseline or progressive\) has 3 channels of 12 bits",
    ),
    "lossless, 16 bits": (
        lambda: bytes(imagecodecs.jpeg8_encode(np.zeros((8, 8), np.uint16), lossless=True, bitspersample=16)),
        r"\(lossless\) has 1 channels of 16 bits",
    ),
    "JPEG-LS": (
        lambda: bytes(imagecodecs.jpegls_encode(np.zeros((8, 8), np.uint8))),
        r"\(JPEG-LS\) has 1 channels of 8 bits",
    ),
    "hierarchical": (lambda: jpeg().replace(b"\xff\xc0", b"\xff\xc5", 1), r"\(hierarchical\) has 3 channels of 8 bits"),
    "two channels": (lambda: _two_channels(), r"has 2 channels of 8 bits"),
}


def _header(data: bytes) -> int:
    """The position of the length in the frame header."""
    return data.index(b"\xff\xc0") + 2


def _two_channels() -> bytes:
    data = jpeg("L")
    at = _header(data)
    return data[:at] + b"\0\x0e" + data[at + 2 : at + 7] + b"\2" + data[at + 8 : at + 11] * 2 + data[at + 11 :]


@pytest.mark.parametrize(("make", "words"), JPEGS_NOT_READ.values(), ids=JPEGS_NOT_READ)
@pytest.mark.parametrize("truncated", ["reject", "allow"])
def test_unsupported_kinds_are_refused_by_name(make: Callable[[], bytes], words: str, truncated: Any) -> None:
    with pytest.raises(UndecodablePicture, match=words + ".*save it as PNG or TIFF"):
        codec().decode(make(), wanted(scale=2, truncated=truncated))


def test_a_gain_map_is_ignored_and_not_referred_to() -> None:
    """Ultra HDR: the base picture, which ends at its own end marker, followed by a second JPEG (ISO 21496-1)."""
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description rdf:about="" xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0" '
        b'xmlns:c="http://ns.google.com/photos/1.0/container/" c:Directory="x" '
        b'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="3"/></rdf:RDF></x:xmpmeta>'
    )
    base = jpeg()
    multi = b"MPF\0MM\0*\0\0\0\x08\0\0\0\0\0\0"
    iso = b"urn:iso:std:iso:ts:21496:-1\0\0\0\0\0"
    segments = [b"http://ns.adobe.com/xap/1.0/\0" + xmp, multi, iso]
    marks = (b"\xff\xe1", b"\xff\xe2", b"\xff\xe2")
    added = b"".join(
        mark + (2 + len(body)).to_bytes(2, "big") + body for mark, body in zip(marks, segments, strict=True)
    )
    data = base[:2] + added + base[2:] + jpeg("L")
    plain = codec().decode(base, wanted(scale=2))
    decoded, encoded = upscaled(data, metadata="all", encode=wanted(format="jpeg"))
    assert np.array_equal(decoded.frames[0].luma, plain.frames[0].luma)
    assert b"Rating" in encoded.body
    for name in (b"hdrgm", b"hdr-gain-map", b"MPF\0", b"21496", b"container"):
        assert name not in encoded.body


def test_a_height_after_the_first_scan_is_read() -> None:
    data = jpeg()
    at = _header(data) + 3
    later = data[:at] + bytes(2) + data[at + 2 : -2] + b"\xff\xdc\0\4" + data[at : at + 2] + data[-2:]
    assert np.array_equal(
        codec().decode(later, wanted(2)).frames[0].luma, codec().decode(data, wanted(2)).frames[0].luma
    )


def test_a_lossless_jpeg_of_eight_bits_is_exact() -> None:
    samples = picture(20, 30, 3)
    data = bytes(imagecodecs.jpeg8_encode(samples, lossless=True))
    assert_same(pixels(upscaled(data)[1].body), samples, "lossless")


def test_bytes_between_header_segments_are_skipped() -> None:
    data = jpeg()
    at = data.index(b"\xff\xdb")
    decoded = codec().decode(data[:at] + b"\0\1\2" + data[at:], wanted(2))
    assert not decoded.truncated
    assert np.array_equal(decoded.frames[0].luma, codec().decode(data, wanted(2)).frames[0].luma)


def test_a_picture_with_misnumbered_profile_parts_is_decoded() -> None:
    """Both parts have number 1: libjpeg reports that like damaged pixels, and then suppresses further warnings."""
    data = jpeg()
    part = b"\xff\xe2\x00\x17ICC_PROFILE\0\x01\x01profile"
    wrong = data[:2] + part * 2 + data[2:]
    decoded = codec().decode(wrong, wanted(2))
    assert not decoded.truncated
    assert np.array_equal(decoded.frames[0].luma, codec().decode(data, wanted(2)).frames[0].luma)
    padded = codec().decode(wrong[:-2] + b"\0" * 9 + wrong[-2:], wanted(2))
    assert np.array_equal(padded.frames[0].luma, decoded.frames[0].luma)
    with pytest.raises(UndecodablePicture, match="premature end"):
        codec().decode(wrong[:-200] + b"\xff\xd9", wanted(2))


@pytest.mark.parametrize("progressive", [False, True])
def test_a_channel_without_data_is_damage(progressive: bool) -> None:
    """The header declares three channels, but the only scan holds just the first."""
    gray, color = jpeg("L", progressive=progressive), jpeg(progressive=progressive)
    mark = b"\xff\xc2" if progressive else b"\xff\xc0"
    parts = [data[data.index(mark) : data.index(mark) + size] for data, size in ((gray, 13), (color, 19))]
    one = b"\x11"  # sampling of 1 x 1: blocks of a scan of one channel are ordered as in a gray picture
    head = parts[1][:11] + one + parts[1][12:]
    data = gray.replace(parts[0], head, 1)
    with pytest.raises(UndecodablePicture, match="the data of a channel is missing"):
        codec().decode(data, wanted(2))
    assert codec().decode(data, wanted(2, truncated="allow")).truncated


def _segment(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, kind, len(body) + 2) + body


def test_arithmetic_coding_is_read_beyond_the_first_64_kib() -> None:
    def coded(filler: int) -> bytes:
        frame = struct.pack(">BHHB", 8, 64, 64, 1) + b"\1\x11\0"
        parts = (_segment(0xDB, bytes([0, *[1] * 64])), _segment(0xC9, frame), _segment(0xDA, b"\1\1\0\0\x3f\0"))
        return b"".join((b"\xff\xd8", _segment(0xE9, bytes(filler)), *parts, bytes(1000), b"\xff\xd9"))

    expected = pixels(upscaled(coded(0))[1].body)
    assert expected.std() > 30
    begins = len(coded(0)) - 1002
    for inside in (3, 20):
        assert np.array_equal(pixels(upscaled(coded(65_536 - begins - inside))[1].body), expected)
