"""Metadata that an output format cannot hold is split, moved, or dropped and reported, but is never an error."""

import hashlib
import io
import struct
from typing import Any

import pytest
from PIL import Image
from PIL.ExifTags import IFD, Base

from app.codec import Codec
from app.codec.metadata import iptc
from app.codec.types import Decoded
from app.errors import BadParameter
from tests.codec.metadata.sources import CASES, SAMPLES, data_set, exif, exif_block, png, png_xmp, resources, tiff, xmp
from tests.codec.support import codec, nearest, opened, picture, saved, upscaled, wanted
from tests.codec.test_metadata import DISPLAY_P3

TARGETS = ["png", "jpeg", "webp", "avif", "tiff"]


def left_out(data: bytes, target: Any, choice: Any = "all") -> tuple[str, ...]:
    """What is reported as dropped from a result that is written nevertheless."""
    service, options = codec(), wanted(2, format=target, metadata=choice)
    decoded = service.decode(data, options)
    service.check(decoded, 2, options)
    planes = [[nearest(plane, 2) for plane in frame.planes] for frame in decoded.frames]
    assert service.encode(decoded, planes, 2, options).body
    return service.left_out(decoded, 2, options)


def _segments(body: bytes) -> list[bytes]:
    """The segments of a JPEG before its scan, each from the second byte of its marker."""
    found, at = [], 2
    while body[at + 1] != 0xDA:
        size = int.from_bytes(body[at + 2 : at + 4], "big")
        found.append(body[at + 1 : at + 2 + size])
        at += 2 + size
    return found


@pytest.mark.parametrize("target", TARGETS)
def test_exif_of_any_size_is_written_or_reported_as_dropped(target: Any) -> None:
    large = png((b"eXIf", exif_block(exif(ImageDescription="x" * 70_000))))
    assert left_out(large, target) == (("exif dropped (too large for jpeg)",) if target == "jpeg" else ())
    _, encoded = upscaled(large, 2, metadata="keep", encode=wanted(format=target))
    assert opened(encoded.body).getexif().get(Base.Artist) == (None if target == "jpeg" else "A. Painter")


def test_the_largest_exif_that_a_jpeg_holds_is_written() -> None:
    def source(size: int) -> bytes:
        return png((b"eXIf", exif_block(exif(ImageDescription="x" * size))))

    rest = len(codec().decode(source(59_999), wanted(metadata="keep")).metadata.exif or b"") - 60_000
    most = (65_533 - len(b"Exif\0\0") - rest) // 2 * 2 - 1  # with its terminating zero byte, the length is even
    assert left_out(source(most), "jpeg", "keep") == ()
    assert left_out(source(most + 1), "jpeg", "keep") == ("exif dropped (too large for jpeg)",)
    _, encoded = upscaled(source(most), 2, metadata="keep", encode=wanted(format="jpeg"))
    assert opened(encoded.body).getexif()[Base.ImageDescription] == "x" * most


@pytest.mark.parametrize("choice", ["keep", "all"])
def test_xmp_too_large_for_a_segment_is_continued_in_an_extension(choice: Any) -> None:
    titles = "".join(f'<rdf:li xml:lang="x-{number}">{number:04}</rdf:li>' for number in range(4000))
    packet = xmp('dc:rights="mine"', f"<dc:title><rdf:Alt>{titles}</rdf:Alt></dc:title>")
    data = png(png_xmp(packet.encode()))
    assert left_out(data, "jpeg", choice) == ()
    _, whole = upscaled(data, 2, metadata=choice)
    _, encoded = upscaled(data, 2, metadata=choice, encode=wanted(format="jpeg"))
    main = next(body for body in _segments(encoded.body) if b"http://ns.adobe.com/xap/1.0/\0" in body)
    assert b'dc:rights="mine"' in main
    parts = [
        body[3:] for body in _segments(encoded.body) if body[3:].startswith(b"http://ns.adobe.com/xmp/extension/\0")
    ]
    assert len(parts) == 3
    text = b""
    for part in parts:
        name, (size, offset) = part[35:67], struct.unpack(">II", part[67:75])
        assert offset == len(text)
        text += part[75:]
    assert len(text) == size
    assert name == hashlib.md5(text).hexdigest().upper().encode()
    assert b'xmpNote:HasExtendedXMP="' + name + b'"' in main
    again, direct = (codec().decode(made.body, wanted(metadata="all")).metadata.xmp for made in (encoded, whole))
    assert again is not None
    assert direct is not None
    assert sorted(again.splitlines()) == sorted(direct.splitlines())


def test_document_ancestors_are_only_kept_by_metadata_all() -> None:
    data = (CASES / "xmp_137k_z.png").read_bytes()
    _, kept = upscaled(data, 2, metadata="keep", encode=wanted(format="jpeg"))
    assert b"DocumentAncestors" not in kept.body
    _, everything = upscaled(data, 2, metadata="all", encode=wanted(format="jpeg"))
    found = [codec().decode(body, wanted(metadata="all")).metadata for body in (data, everything.body)]
    assert found[0].xmp is not None
    assert found[0].xmp.count(b"<rdf:li>") == 2500
    assert found[0] == found[1]


def test_a_still_has_no_motion_photo_metadata() -> None:
    data = (CASES / "xmp_motion.jpg").read_bytes()
    for choice in ("keep", "all"):
        _, encoded = upscaled(data, 2, metadata=choice)
        assert b"MotionPhoto" not in encoded.body
        assert b"MicroVideo" not in encoded.body


def test_iptc_too_large_for_a_segment_is_reported_as_dropped() -> None:
    data = tiff(iptc=data_set(120, bytes(30_000)) * 3)
    assert left_out(data, "jpeg") == ("iptc dropped (too large for jpeg)",)
    assert left_out(data, "png") == ()
    edge = tiff(iptc=data_set(120, bytes(30_000)) * 2 + data_set(120, bytes(5_491)))
    assert left_out(edge, "jpeg") == ()


def test_a_profile_too_large_for_a_jpeg_is_reported_as_dropped() -> None:
    def source(size: int) -> bytes:
        return saved(SAMPLES, "TIFF", icc_profile=DISPLAY_P3.ljust(size, b"\0"))

    assert left_out(source(255 * 65_519), "jpeg") == ()
    assert left_out(source(255 * 65_519 + 1), "jpeg") == ("icc dropped (too large for jpeg)",)


def test_a_profile_that_takes_libjxl_seconds_is_reported_as_dropped() -> None:
    """4 MB of noise took it 13 s of CPU time for 8 x 8 pixels, and more was an internal error."""

    def source(size: int) -> bytes:
        return saved(SAMPLES, "TIFF", icc_profile=DISPLAY_P3.ljust(size, b"\0"))

    assert left_out(source(2 << 20), "jxl") == ()
    assert left_out(source((2 << 20) + 1), "jxl") == ("icc dropped (too large for jxl)",)


def test_a_png_with_the_largest_profile_can_be_read_again() -> None:
    profile = DISPLAY_P3.ljust(20 << 20, b"\0")
    _, first = upscaled(saved(SAMPLES, "TIFF", icc_profile=profile))
    assert codec().decode(first.body, wanted()).metadata.icc == profile


def _source(dpi: tuple[float, float], form: str = "PNG") -> bytes:
    return saved(SAMPLES, form, dpi=dpi)


@pytest.mark.parametrize("target", ["webp", "avif"])
def test_resolution_is_written_to_exif_if_the_format_has_no_field_for_it(target: Any) -> None:
    for form in ("TIFF", "JPEG", "BMP"):
        _, encoded = upscaled(_source((100, 200), form), 2, metadata="keep", encode=wanted(format=target))
        tags = opened(encoded.body).getexif()
        found = [float(tags[tag]) for tag in (Base.XResolution, Base.YResolution)]
        assert found == pytest.approx([200, 400], abs=0.02)
        assert tags[Base.ResolutionUnit] == 2
        _, back = upscaled(encoded.body, 1, metadata="keep")
        assert opened(back.body).info["dpi"] == pytest.approx((200, 400), abs=0.03)
    _, dropped = upscaled(_source((100, 200)), 2, encode=wanted(format=target))
    assert dict(opened(dropped.body).getexif()) == {}


@pytest.mark.parametrize(
    ("dpi", "expected"), [((16_383.75, 300), None), ((20_000, 300), 80_000), ((300, 20_000), 1200)]
)
def test_a_resolution_that_jfif_cannot_hold_is_written_to_exif(dpi: tuple[float, float], expected: int | None) -> None:
    _, encoded = upscaled(_source(dpi, "TIFF"), 4, metadata="keep", encode=wanted(format="jpeg"))
    jfif = next(body for body in _segments(encoded.body) if body[3:7] == b"JFIF")
    tags = opened(encoded.body).getexif()
    if expected is None:
        assert jfif[10:15] == struct.pack(">BHH", 1, 65_535, 1200)
    else:
        assert jfif[10] == 0  # no unit: only the pixel aspect ratio
        assert tags[Base.XResolution] == expected
    assert float(tags[Base.XResolution]) == pytest.approx(dpi[0] * 4, abs=0.1)
    _, again = upscaled(encoded.body, 1, metadata="keep", encode=wanted(format="tiff"))
    assert opened(again.body).info["dpi"] == pytest.approx((dpi[0] * 4, dpi[1] * 4), abs=0.5)


def test_the_interoperability_pointer_of_a_camera_does_not_dangle() -> None:
    data = (CASES / "camera_interop_le.jpg").read_bytes()
    for choice in ("keep", "all"):
        _, encoded = upscaled(data, 2, metadata=choice, encode=wanted(format="tiff"))
        details = opened(encoded.body).getexif().get_ifd(IFD.Exif)
        assert details[Base.FNumber] == pytest.approx(2.8)
        assert (IFD.Interop in details) == (choice == "all")


def test_the_location_of_a_drone_picture_is_dropped() -> None:
    data = (CASES / "xmp_dji_attr.jpg").read_bytes()
    _, kept = upscaled(data, 2, metadata="keep")
    assert b"12.3456789" in data
    assert b"12.3456789" not in kept.body
    assert b"dji" not in kept.body.lower()


def test_pillow_reads_the_metadata_blocks_of_a_tiff() -> None:
    """The codec writes the directory itself; Pillow reads it independently."""
    data = png((b"eXIf", exif_block(exif(XResolution=300.0))), png_xmp(xmp('dc:title="Dunes"').encode()))
    _, encoded = upscaled(data, 2, metadata="keep", encode=wanted(format="tiff"))
    image = opened(encoded.body)
    assert isinstance(image.info["xmp"], bytes)
    assert image.getexif()[Base.Artist] == "A. Painter"
    assert image.getexif()[Base.XResolution] == 600
    assert image.size == (24, 16)


def _film(loop: int, durations: list[int]) -> tuple[Codec, Decoded]:
    frames = [Image.fromarray(picture(5, 4, 3, seed=seed)) for seed in range(len(durations))]
    file = io.BytesIO()
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:], duration=durations, loop=loop)
    service = codec()
    return service, service.decode(file.getvalue(), wanted(2, frames="all"))


@pytest.mark.parametrize(
    ("loop", "durations"), [(65_536, [1, 2]), (2**31, [1, 2]), (1, [16_778_000, 2]), (1, [16_000_000] * 126)]
)
def test_an_animation_too_long_for_webp_is_refused_before_it_is_computed(loop: int, durations: list[int]) -> None:
    service, decoded = _film(loop, durations)
    with pytest.raises(BadParameter, match="webp holds at most 65,535 plays"):
        service.check(decoded, 2, wanted(2, format="webp"))
    service.check(decoded, 2, wanted(2, format="png"))


def test_the_longest_animation_that_webp_holds_is_accepted() -> None:
    service, decoded = _film(65_535, [16_777_000, 1])
    options = wanted(2, format="webp")
    service.check(decoded, 2, options)
    planes = [[nearest(plane, 2) for plane in frame.planes] for frame in decoded.frames]
    image = opened(service.encode(decoded, planes, 2, options).body)
    assert image.info["loop"] == 65_535


def test_image_resources_can_be_read_back() -> None:
    assert iptc.from_resources(iptc.as_resource(b"odd")) == b"odd"
    assert iptc.as_resource(b"even") in resources(b"even")
