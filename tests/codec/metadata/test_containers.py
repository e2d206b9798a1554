"""In every input format metadata is found and orientation applied alike, and bad metadata never costs the picture."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from app.codec.metadata import separated
from app.codec.metadata.directories import Structure
from app.errors import UndecodablePicture
from tests.codec.metadata.sources import (
    CASES,
    FORMATS,
    HEIGHT,
    PACKET,
    SAMPLES,
    WIDTH,
    exif,
    exif_block,
    gif,
    jpeg,
    jpeg_exif,
    jpeg_xmp,
    jxl,
    png,
    png_xmp,
    raw_profile,
    segment,
    tiff,
    with_all,
    xmp,
)
from tests.codec.png_reference import chunk
from tests.codec.support import codec, opened, saved, upscaled, wanted
from tests.codec.test_metadata import DISPLAY_P3

LIMIT = 32 << 20
TURNED = exif_block(exif(6))
TURNED_XMP = xmp('tiff:Orientation="6"').encode()
TURNED_XMP_ELEMENT = xmp("", "<tiff:Orientation>6</tiff:Orientation>").encode()


def packet_of(body: bytes) -> bytes:
    """The XMP of a result, as read by Pillow."""
    found: str | bytes = opened(body).info.get("xmp", b"")
    return found.encode() if isinstance(found, str) else found


@pytest.mark.parametrize("target", ["png", "jpeg", "webp", "avif", "tiff"])
@pytest.mark.parametrize("form", [*FORMATS, "GIF"])
def test_metadata_keep_drops_locations_for_every_pair_of_formats(form: str, target: Any) -> None:
    data = gif(PACKET.encode()) if form == "GIF" else with_all(form)
    assert data.count(b"SECRET") >= 5
    _, kept = upscaled(data, 2, metadata="keep", encode=wanted(format=target))
    _, everything = upscaled(data, 2, metadata="all", encode=wanted(format=target))
    assert b"SECRET" not in kept.body
    assert b'dc:title="Dunes"' in packet_of(kept.body)
    assert packet_of(everything.body).count(b"SECRET") == 5
    assert (b"A. Painter" in kept.body) == (form != "GIF")


ORIENTED: dict[str, bytes] = {
    "PNG, eXIf": png((b"eXIf", TURNED)),
    "PNG, XMP": png(png_xmp(TURNED_XMP)),
    "PNG, XMP in an element": png(png_xmp(TURNED_XMP_ELEMENT)),
    "PNG, compressed XMP": png((b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(TURNED_XMP))),
    "PNG, raw profile exif": png(raw_profile("exif", TURNED)),
    "PNG, raw profile exif with a prefix": png(raw_profile("exif", b"Exif\0\0" + TURNED)),
    "PNG, raw profile APP1": png(raw_profile("APP1", b"Exif\0\0" + TURNED)),
    "PNG, raw profile APP1 of XMP": png(raw_profile("APP1", b"http://ns.adobe.com/xap/1.0/\0" + TURNED_XMP)),
    "PNG, raw profile xmp": png(raw_profile("xmp", TURNED_XMP)),
    "PNG, XMP in UTF-16": png(png_xmp(TURNED_XMP.decode().encode("utf-16"))),
    "JPEG, EXIF": jpeg(jpeg_exif(TURNED)),
    "JPEG, EXIF in two segments": jpeg(jpeg_exif(TURNED[:40]), jpeg_exif(TURNED[40:])),
    "JPEG, XMP": jpeg(jpeg_xmp(TURNED_XMP)),
    "WEBP, EXIF": saved(SAMPLES, "WEBP", lossless=True, exif=TURNED),
    "WEBP, XMP": saved(SAMPLES, "WEBP", lossless=True, xmp=TURNED_XMP),
    "TIFF, tag": saved(SAMPLES, "TIFF", exif=exif(6)),
    "TIFF, XMP": tiff(xmp=TURNED_XMP),
    "TIFF, big-endian, XMP": tiff(">", xmp=TURNED_XMP),
    "BigTIFF, XMP": tiff(bigtiff=True, xmp=TURNED_XMP),
    "AVIF, EXIF": saved(SAMPLES, "AVIF", exif=TURNED),
    "AVIF, XMP": saved(SAMPLES, "AVIF", xmp=TURNED_XMP),
    "HEIC, XMP": saved(SAMPLES, "HEIC", xmp=TURNED_XMP),
    "JXL, XMP": jxl((b"xml ", TURNED_XMP)),
    "JXL, compressed XMP": jxl((b"brob", b"xml " + bytes(imagecodecs.brotli_encode(TURNED_XMP)))),
    "GIF, XMP": gif(TURNED_XMP),
}


@pytest.mark.parametrize("choice", ["drop", "keep"])
@pytest.mark.parametrize("data", ORIENTED.values(), ids=ORIENTED)
def test_orientation_comes_from_exif_or_else_from_xmp(data: bytes, choice: Any) -> None:
    decoded, _ = upscaled(data, metadata=choice)
    assert (decoded.height, decoded.width) == (WIDTH, HEIGHT)
    assert decoded.metadata.dropped == ()


_ICC = b"ICC_PROFILE\0"
_HALVES = (DISPLAY_P3[:200], DISPLAY_P3[200:])


def _parts(*numbers: bytes) -> list[bytes]:
    """Segments with the parts of a JPEG's profile, each after its number and the count."""
    return [segment(0xE2, _ICC + number + half) for number, half in zip(numbers, _HALVES, strict=True)]


PROFILES: dict[str, tuple[bytes, bool]] = {
    "in order": (jpeg(*_parts(b"\1\2", b"\2\2")), True),
    "in another order": (jpeg(*_parts(b"\1\2", b"\2\2")[::-1]), True),
    "with a segment too short to be a part": (jpeg(*_parts(b"\1\2", b"\2\2"), segment(0xE2, _ICC + b"\1")), True),
    "a part missing": (jpeg(_parts(b"\1\2", b"\2\2")[0]), False),
    "a part twice": (jpeg(*_parts(b"\1\2", b"\1\2")), False),
    "counted differently": (jpeg(*_parts(b"\1\2", b"\2\3")), False),
}


@pytest.mark.parametrize(("data", "sound"), PROFILES.values(), ids=PROFILES)
def test_the_profile_of_a_jpeg_is_joined_from_its_parts_or_reported_as_dropped(data: bytes, sound: bool) -> None:
    found = codec().decode(data, wanted()).metadata
    assert (found.icc, found.dropped) == ((DISPLAY_P3, ()) if sound else (None, ("icc dropped (unreadable)",)))


def test_the_profile_of_a_jpeg_may_follow_its_frame_header() -> None:
    data, (part,) = jpeg(), [segment(0xE2, _ICC + b"\1\1" + DISPLAY_P3)]
    at = data.index(b"\xff\xc4")  # the first table of codes, after the frame header
    assert codec().decode(data[:at] + part + data[at:], wanted()).metadata.icc == DISPLAY_P3


@pytest.mark.parametrize("short", [segment(0xE0, b"JFIF"), segment(0xEE, b"Adobe"), segment(0xE2, _ICC)])
def test_segments_of_a_jpeg_that_are_too_short_are_skipped(short: bytes) -> None:
    found, plain = codec().decode(jpeg(short), wanted()), codec().decode(jpeg(), wanted())
    assert np.array_equal(found.frames[0].luma, plain.frames[0].luma)
    assert found.metadata == plain.metadata


def test_exif_takes_precedence_over_xmp() -> None:
    upright = exif_block(exif(1))
    for data in (png((b"eXIf", upright), png_xmp(TURNED_XMP)), jpeg(jpeg_exif(upright), jpeg_xmp(TURNED_XMP))):
        assert codec().decode(data, wanted()).height == HEIGHT
    without = png((b"eXIf", exif_block(exif())), png_xmp(TURNED_XMP))
    assert codec().decode(without, wanted()).height == WIDTH


def test_the_orientation_of_an_avif_takes_precedence_over_its_exif() -> None:
    data = saved(SAMPLES, "AVIF", exif=TURNED)
    at = data.index(b"irot")
    upright = data[: at + 4] + b"\0" + data[at + 5 :]  # a rotation of 0°
    assert codec().decode(upright, wanted()).height == HEIGHT


GARBAGE = b"no directory of anything"
UNREADABLE: dict[str, bytes] = {
    "PNG, a case of old": (CASES / "exif_png_garbage.png").read_bytes(),
    "PNG": png((b"eXIf", GARBAGE)),
    "PNG, raw profile": png(raw_profile("exif", GARBAGE)),
    "PNG, raw profile that is none": png((b"tEXt", b"Raw profile type exif\0\nexif\n  3\nxyz\n")),
    "JPEG": jpeg(jpeg_exif(GARBAGE)),
    "WEBP": saved(SAMPLES, "WEBP", lossless=True, exif=GARBAGE),
    "AVIF": saved(SAMPLES, "AVIF", exif=exif_block(exif())).replace(b"MM\0*", b"MM\0!"),
}


@pytest.mark.parametrize("choice", ["drop", "keep", "all"])
@pytest.mark.parametrize("data", UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable_exif_is_reported_as_dropped(data: bytes, choice: Any) -> None:
    decoded, _ = upscaled(data, 2, metadata=choice)
    assert decoded.metadata.dropped == ("exif dropped (unreadable)",)
    assert decoded.metadata.exif is None


@pytest.mark.parametrize(("kind", "count"), [(4, 1), (5, 1), (9, 1), (2, 4)])
@pytest.mark.parametrize("pointer", [b"\xfb\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4)])
def test_a_tiff_with_dangling_pointers_is_decoded(pointer: bytes, kind: int, count: int) -> None:
    value = pointer + bytes(4) if kind == 5 else pointer
    private = tiff(tag=(65_000, kind, count, value))  # tifffile cannot write pointers
    for tag in (0x8769, 0x8825):
        data = private.replace(struct.pack("<HH", 65_000, kind), struct.pack("<HH", tag, kind))
        decoded, encoded = upscaled(data, metadata="all")
        assert np.array_equal(np.asarray(opened(encoded.body)), SAMPLES)
        assert decoded.metadata.dropped == ("exif tags dropped (unreadable)",)


@pytest.mark.parametrize("form", FORMATS)
def test_unreadable_xmp_is_reported_as_dropped(form: str) -> None:
    decoded, _ = upscaled(with_all(form, packet="<not xml"), metadata="keep")
    assert decoded.metadata.dropped == ("xmp dropped (unreadable)",)
    assert decoded.metadata.xmp is None
    assert decoded.metadata.exif is not None


def test_a_packet_of_many_unclosed_elements_is_dropped() -> None:
    """A backtracking regular expression once took half a minute on it."""
    packet = zlib.compress(b"<a:GPS>" * 140_000, 9)
    decoded, _ = upscaled(png((b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + packet)), metadata="keep")
    assert decoded.metadata.dropped == ("xmp dropped (unreadable)",)


def extended(parts: Callable[[bytes, bytes], list[bytes]]) -> bytes:
    """A JPEG with extended XMP, whose segments `parts` makes of the packet and its name."""
    whole = xmp('dc:rights="mine" photoshop:City="SECRET"').encode()
    name = b"0123456789ABCDEF" * 2
    main = xmp(f'dc:title="Dunes" xmpNote:HasExtendedXMP="{name.decode()}"').encode()
    segments = [segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + part) for part in parts(whole, name)]
    return jpeg(*segments, jpeg_xmp(main))


def _part(whole: bytes, name: bytes, start: int, end: int) -> bytes:
    return name + struct.pack(">II", len(whole), start) + whole[start:end]


@pytest.mark.parametrize("target", ["png", "jpeg"])
def test_the_parts_of_an_extended_xmp_packet_are_read_in_any_order(target: Any) -> None:
    data = extended(lambda whole, name: [_part(whole, name, at, at + 100) for at in range(0, len(whole), 100)][::-1])
    decoded, encoded = upscaled(data, metadata="keep", encode=wanted(format=target))
    assert decoded.metadata.dropped == ()
    packet = packet_of(encoded.body)
    assert b'dc:title="Dunes"' in packet
    assert b'dc:rights="mine"' in packet
    assert b"SECRET" not in encoded.body
    assert b"HasExtendedXMP" not in packet


def test_an_incomplete_extended_packet_is_reported_and_a_foreign_one_ignored() -> None:
    cut = extended(lambda whole, name: [_part(whole, name, 0, 100)])
    large = extended(lambda whole, name: [name + struct.pack(">II", 2**31, 0)])
    alien = extended(lambda whole, name: [_part(whole, name[::-1], 0, len(whole))])
    notes = [codec().decode(data, wanted(metadata="keep")).metadata.dropped for data in (cut, large, alien)]
    assert notes == [("xmp extension dropped (unreadable)",), ("xmp extension dropped (too large)",), ()]


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt"])
def test_a_png_with_a_text_above_a_mebibyte_is_decoded(kind: bytes) -> None:
    prefix = {b"zTXt": b"Comment\0\0", b"iTXt": b"Comment\0\1\0\0\0"}[kind]
    _, encoded = upscaled(png((kind, prefix + zlib.compress(bytes(5 << 20)))))
    assert np.array_equal(np.asarray(opened(encoded.body)), SAMPLES)


def test_a_profile_above_a_mebibyte_is_kept() -> None:
    data = (CASES / "png_icc_1300k.png").read_bytes()
    decoded, encoded = upscaled(data, 2)
    assert decoded.metadata.icc is not None
    assert len(decoded.metadata.icc) == 1_300_000
    assert codec().decode(encoded.body, wanted()).metadata.icc == decoded.metadata.icc


def test_the_texts_of_a_png_may_unpack_to_at_most_twice_the_file_limit() -> None:
    text = (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(700)))
    separated("PNG", png(text, text), 700)
    with pytest.raises(UndecodablePicture, match="too large"):
        separated("PNG", png(text, text, text), 700)
    with pytest.raises(UndecodablePicture, match="more than 699 bytes"):
        separated("PNG", png(text), 699)


def test_an_xmp_text_that_is_too_large_is_reported_as_dropped() -> None:
    text = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(17 << 20))
    assert codec().decode(png((b"iTXt", text)), wanted(metadata="all")).metadata.dropped == ("xmp dropped (too large)",)


def test_text_keywords_of_a_png_are_not_taken_for_properties_of_the_picture() -> None:
    """Pillow would mix them with the properties of the picture in `info`."""
    texts = [
        (b"tEXt", name + b"\0nonsense") for name in (b"dpi", b"loop", b"duration", b"transparency", b"icc_profile")
    ]
    _, encoded = upscaled(png(*texts), metadata="all")
    assert np.array_equal(np.asarray(opened(encoded.body)), SAMPLES)


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "HEIC"])
def test_decoders_get_files_without_metadata(form: str) -> None:
    """The container of a WebP is left unchanged, as no decoder used here reads its metadata."""
    plain, blocks = separated(form, with_all(form), LIMIT)
    assert blocks.exif is not None
    assert len(blocks.xmp) == 1
    image = Image.open(io.BytesIO(plain))
    image.load()
    if form != "WEBP":
        assert "exif" not in image.info
        assert "xmp" not in image.info
        assert dict(image.getexif()).keys().isdisjoint({0x13B, 0x8769, 0x8825, 700})


@pytest.mark.parametrize("bigtiff", [False, True])
def test_libtiff_gets_only_the_tags_of_the_pixels(bigtiff: bool) -> None:
    """It would load the value of each tag, and a thousand tags may share one value of megabytes."""
    data = tiff(bigtiff=bigtiff, tag=(65_000, 1, 1000, bytes(1000)), xmp=b"<x/>")
    plain, _ = separated("TIFF", data, LIMIT)
    structure = Structure(plain)
    tags = structure.directory(structure.first, lambda _: True)
    assert {256, 257, 258, 262, 273, 277, 279, 282} < tags.keys()
    assert tags.keys().isdisjoint({65_000, 700})
    assert len(plain) == len(data)


def test_pointers_of_bigtiff_are_followed() -> None:
    private = tiff(bigtiff=True, tag=(65_000, 16, 1, struct.pack("<Q", 16)))
    first = struct.unpack_from("<Q", private, 8)[0]
    at = private.index(struct.pack("<HHQ", 65_000, 16, 1))
    data = private[:at] + struct.pack("<HHQQ", 0x8769, 16, 1, first) + private[at + 20 :]
    kept = codec().decode(data, wanted(metadata="all")).metadata
    assert kept.dropped == ()
    image = Image.Exif()
    image.load(kept.exif or b"")
    assert image.get_ifd(0x8769)[282] == 1  # the pointer in this file leads back to the same directory


def test_fill_bytes_and_garbage_between_segments_are_skipped() -> None:
    data = jpeg(b"rubbish\xff\0" + b"\xff" * 5000 + jpeg_exif(TURNED))
    plain, blocks = separated("JPEG", data, LIMIT)
    assert blocks.exif == TURNED
    assert plain == jpeg()


def test_a_jpeg_with_too_many_segments_is_refused() -> None:
    with pytest.raises(UndecodablePicture, match="more than 65,536 segments"):
        codec().decode(jpeg(segment(0xFE, b"") * 70_000), wanted())


@pytest.mark.parametrize("form", [*FORMATS, "GIF", "BMP"])
def test_a_file_cut_off_anywhere_is_separated_without_an_error(form: str) -> None:
    data = gif(PACKET.encode()) if form == "GIF" else with_all(form) if form != "BMP" else saved(SAMPLES, "BMP")
    for end in (8,) if form == "PNG" else range(0, len(data), 7):  # the chunks of a PNG are known to be sound
        plain, _ = separated(form, data[:end], LIMIT)
        assert len(plain) <= max(end, 8)


def test_a_file_without_metadata_is_unchanged() -> None:
    for form in (*FORMATS, "GIF", "BMP"):
        data = tiff() if form == "TIFF" else saved(SAMPLES, form)
        plain, blocks = separated(form, data, LIMIT)
        if form == "TIFF":
            blocks.exif = None  # a TIFF is its own EXIF structure
        else:
            assert plain == data
        assert (blocks.exif, blocks.xmp, blocks.iptc, blocks.icc, blocks.dropped) == (None, (), None, None, [])


def test_every_other_chunk_of_a_png_is_kept() -> None:
    data = png((b"gAMA", struct.pack(">I", 45455)), png_xmp(b"<x/>"), (b"pHYs", bytes(9)))
    plain, _ = separated("PNG", data, LIMIT)
    assert plain == data.replace(chunk(*png_xmp(b"<x/>")), b"")
