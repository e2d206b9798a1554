"""Orientation is applied and profiles are kept; other metadata only on request, and locations only with `all`."""

import io
import struct
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from app.codec.code_points import CodePoints, profile
from app.codec.color_management import profile_channels, profile_from_png, srgb_profile
from app.codec.reader import read
from app.codec.stream_encoder import metadata_of
from app.codec.types import DecodeLimits
from tests.codec.png_reference import chunks, write_png
from tests.codec.support import Array, assert_same, opened, picture, pixels, saved, upscaled, wanted

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="6" dc:title="Dunes" '
    b'exif:GPSLatitude="52,31.2N" ><exif:GPSAltitude>34/1</exif:GPSAltitude></rdf:Description></rdf:RDF></x:xmpmeta>'
)
XMP_TAG = 700  # in a TIFF
SRGB_PRIMARIES = [0.64, 0.33, 1, 0.3, 0.6, 1, 0.15, 0.06, 1]
LINEAR = bytes(imagecodecs.cms_profile("rgb", whitepoint=[0.3127, 0.329, 1], primaries=SRGB_PRIMARIES, gamma=1.0))
GRAY_LINEAR = bytes(imagecodecs.cms_profile("gray", gamma=1.0))
_GAMMA_1 = (b"gAMA", (100000).to_bytes(4, "big"))
_PRIMARIES = [
    (b"cHRM", b"".join(v.to_bytes(4, "big") for v in (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)))
]
_PRIMARIES_OF_SRGB = [
    (b"cHRM", b"".join(v.to_bytes(4, "big") for v in (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)))
]
DISPLAY_P3 = bytes(
    imagecodecs.cms_profile(
        "rgb", whitepoint=[0.3127, 0.329, 1], primaries=[0.68, 0.32, 1, 0.265, 0.69, 1, 0.15, 0.06, 1], gamma=2.2
    )
)


def _exif(orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Artist] = "A. Painter"
    exif[ExifTags.Base.XResolution] = 72.0
    exif[ExifTags.Base.YResolution] = 72.0
    details = exif.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.ExifImageWidth] = 5
    details[ExifTags.Base.ExifImageHeight] = 7
    details[ExifTags.Base.MakerNote] = b"secret"
    details[ExifTags.Base.LensModel] = "50mm"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    return exif


def _turned(samples: Array, orientation: int) -> Array:
    """The samples as turned by Pillow."""
    image = Image.fromarray(samples)
    image.getexif()[ExifTags.Base.Orientation] = orientation
    from PIL import ImageOps

    return np.asarray(ImageOps.exif_transpose(image))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("form", "settings"),
    [("PNG", {}), ("JPEG", {"quality": 95}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("AVIF", {"quality": 95})],
)
def test_orientation_is_applied_and_its_tag_removed(form: str, settings: dict[str, Any], orientation: int) -> None:
    samples = picture(7, 5, 3) // 8 * 8
    data = saved(samples, form, exif=_exif(orientation), **settings)
    raw = (
        samples
        if form in ("PNG", "WEBP", "TIFF")
        else np.asarray(Image.open(io.BytesIO(saved(samples, form, **settings))))
    )
    _, encoded = upscaled(data, metadata="keep")
    assert_same(pixels(encoded.body), _turned(raw, orientation), f"orientation-{form}-{orientation}", data)
    assert opened(encoded.body).getexif().get(ExifTags.Base.Orientation) is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_to_sixteen_bits(orientation: int) -> None:
    samples = picture(7, 5, 3, np.uint16)
    data = write_png(samples, 2, 16, extra=[(b"eXIf", _exif(orientation).tobytes().removeprefix(b"Exif\0\0"))])
    _, encoded = upscaled(data)
    high, low = (_turned((samples >> shift).astype(np.uint8), orientation).astype(np.uint16) for shift in (8, 0))
    assert_same(pixels(encoded.body), high << 8 | low, f"orientation-16-{orientation}", data)


def with_everything(form: str = "PNG") -> bytes:
    settings: dict[str, Any] = {"exif": _exif().tobytes(), "dpi": (100, 200)}
    if form == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        info.add_text("Comment", "private")
        return saved(picture(7, 5, 3), form, pnginfo=info, **settings)
    if form == "TIFF":
        exif = _exif()
        exif[XMP_TAG] = XMP
        settings["exif"] = exif.tobytes()
    return saved(picture(7, 5, 3), form, xmp=XMP, **settings)


@pytest.mark.parametrize("target", ["png", "jpeg", "webp", "avif", "tiff"])
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_metadata_is_dropped_by_default(form: str, target: Any) -> None:
    _, encoded = upscaled(with_everything(form), 2, encode=wanted(format=target))
    for secret in (b"Painter", b"50mm", b"GPS", b"Dunes", b"private", b"secret"):
        assert secret not in encoded.body
    assert "dpi" not in opened(encoded.body).info or target in ("jpeg", "tiff")
    if target == "png":
        assert {kind for kind, _ in chunks(encoded.body)} == {b"IHDR", b"IDAT", b"IEND"}


@pytest.mark.parametrize("target", ["png", "jpeg", "webp", "avif", "tiff"])
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_metadata_keep_drops_locations(form: str, target: Any) -> None:
    _, encoded = upscaled(with_everything(form), 4, encode=wanted(format=target), metadata="keep")
    image = opened(encoded.body)
    exif = image.getexif()
    details = exif.get_ifd(ExifTags.IFD.Exif)
    assert exif[ExifTags.Base.Artist] == "A. Painter"
    assert details[ExifTags.Base.LensModel] == "50mm"
    assert (details[ExifTags.Base.ExifImageWidth], details[ExifTags.Base.ExifImageHeight]) == (20, 28)
    assert ExifTags.Base.MakerNote not in details
    assert exif.get_ifd(ExifTags.IFD.GPSInfo) == {}
    packet = image.info["xmp"]
    packet = packet.encode() if isinstance(packet, str) else packet
    assert b'dc:title="Dunes"' in packet
    assert b'tiff:Orientation="1"' in packet
    assert b"GPS" not in encoded.body
    assert exif.get(ExifTags.Base.Orientation, 1) == 1
    # In a TIFF, the resolution of EXIF and that of the file are the same tag.
    own = form == "TIFF" or (target == "tiff" and form in ("PNG", "JPEG"))
    assert float(exif[ExifTags.Base.XResolution]) == pytest.approx((100 if own else 72) * 4, abs=0.01)


@pytest.mark.parametrize("target", ["png", "tiff"])
def test_metadata_all_keeps_locations(target: Any) -> None:
    _, encoded = upscaled(with_everything(), metadata="all", encode=wanted(format=target))
    image = opened(encoded.body)
    assert image.getexif().get_ifd(ExifTags.IFD.GPSInfo) == {ExifTags.GPS.GPSLatitudeRef: "N"}
    assert "GPSLatitude" in str(image.info["xmp"])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("metadata", ["keep", "all"])
def test_metadata_is_written_to_and_read_from_sixteen_bit_tiffs(channels: int, metadata: Any) -> None:
    """tifffile reads the pixels and tags that the codec wrote, and Pillow the same tags."""
    samples = picture(7, 5, channels, np.uint16)
    samples[..., -1] = np.maximum(samples[..., -1], 1)
    exif = _exif().tobytes().removeprefix(b"Exif\0\0")
    source = write_png(
        samples,
        {1: 0, 2: 4, 3: 2, 4: 6}[channels],
        16,
        extra=[
            (b"eXIf", exif),
            (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
            (b"pHYs", struct.pack(">IIB", 3937, 7874, 1)),
        ],
    )
    tiff = wanted(format="tiff")
    _, first = upscaled(source, metadata=metadata, encode=tiff)
    _, second = upscaled(first.body, 2, metadata=metadata, encode=tiff)  # reading it back keeps the metadata
    with tifffile.TiffFile(io.BytesIO(first.body)) as file:
        assert len(file.pages) == 1
        assert np.array_equal(file.asarray().reshape(samples.shape), samples)
    with tifffile.TiffFile(io.BytesIO(second.body)) as file:
        tags = file.pages.first.tags
        assert (tags["Artist"].value, tags["ExifTag"].value["LensModel"]) == ("A. Painter", "50mm")
        assert ("GPSTag" in tags) == (metadata == "all")
        assert "Orientation" not in tags
        x, y = (tags[name].value[0] / tags[name].value[1] for name in ("XResolution", "YResolution"))
        assert (x, y) == pytest.approx((200, 400), abs=0.1)
        assert tags["ResolutionUnit"].value == 2
    assert (b"GPS" in second.body) == (metadata == "all")
    assert b"Dunes" in second.body
    if channels == 1:
        assert opened(second.body).getexif()[ExifTags.Base.Artist] == "A. Painter"


def test_a_tiff_without_metadata_holds_only_its_picture() -> None:
    _, encoded = upscaled(with_everything("TIFF"), encode=wanted(format="tiff"))
    with tifffile.TiffFile(io.BytesIO(encoded.body)) as file:
        assert {"Artist", "ExifTag", "GPSTag", "XMP", "Software"}.isdisjoint(tag.name for tag in file.pages.first.tags)


@pytest.mark.parametrize(("target", "tolerance"), [("png", 0.02), ("jpeg", 0.6), ("tiff", 1e-3)])
def test_the_resolution_is_scaled_with_the_picture(target: Any, tolerance: float) -> None:
    _, encoded = upscaled(with_everything(), 4, encode=wanted(format=target), metadata="keep")
    assert [float(value) for value in opened(encoded.body).info["dpi"]] == pytest.approx((400, 800), abs=tolerance * 4)


def test_a_packet_whose_locations_cannot_be_separated_is_dropped() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", "<x>hidden GPS 52,31N in words</x>")
    _, encoded = upscaled(saved(picture(3, 3, 3), "PNG", pnginfo=info), metadata="keep")
    assert b"GPS" not in encoded.body


@pytest.mark.parametrize("target", ["png", "jpeg", "webp", "avif", "tiff"])
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_a_profile_is_kept(form: str, target: Any) -> None:
    _, encoded = upscaled(saved(picture(7, 5, 3), form, icc_profile=DISPLAY_P3), encode=wanted(format=target))
    assert opened(encoded.body).info["icc_profile"] == DISPLAY_P3


def test_a_gray_profile_is_kept_on_gray_and_dropped_on_colour() -> None:
    gray, rgb = picture(7, 5, 1), picture(7, 5, 3)
    _, kept = upscaled(saved(gray, "PNG", icc_profile=GRAY_LINEAR))
    _, dropped = upscaled(saved(rgb, "PNG", icc_profile=GRAY_LINEAR))
    assert opened(kept.body).info["icc_profile"] == GRAY_LINEAR
    assert "icc_profile" not in opened(dropped.body).info


def test_untagged_stays_untagged_and_srgb_stays_srgb() -> None:
    samples = picture(7, 5, 3)
    _, untagged = upscaled(write_png(samples, 2, 8))
    _, tagged = upscaled(write_png(samples, 2, 8, extra=[(b"sRGB", b"\0")]))
    assert b"sRGB" not in untagged.body
    assert b"iCCP" not in untagged.body
    assert (b"sRGB", b"\1") in list(chunks(tagged.body))


def _srgb_from_linear(samples: Array) -> Array:
    """IEC 61966-2-1, for values of 0..1."""
    return np.where(samples <= 0.0031308, samples * 12.92, 1.055 * samples ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_color_srgb_converts_with_the_profile(dtype: type) -> None:
    full = int(np.iinfo(dtype).max)
    samples: Array = np.linspace(0, full, 64).astype(dtype).reshape(8, 8, 1).repeat(3, axis=2)
    data = write_png(samples, 2, 8 * samples.itemsize, extra=[(b"iCCP", b"x\0\0" + _deflated(LINEAR))])
    _, encoded = upscaled(data, color="srgb")
    expected = np.rint(_srgb_from_linear(samples / full) * full).astype(dtype)
    assert_same(pixels(encoded.body), expected, "to-srgb", data, tolerance=1)
    assert (b"sRGB", b"\1") in list(chunks(encoded.body))
    assert "icc_profile" not in opened(encoded.body).info


def _deflated(body: bytes) -> bytes:
    import zlib

    return zlib.compress(body)


def test_gray_with_a_profile_is_converted_as_gray() -> None:
    gray = np.linspace(0, 255, 64).astype(np.uint8).reshape(8, 8, 1)
    _, encoded = upscaled(saved(gray, "PNG", icc_profile=GRAY_LINEAR), color="srgb")
    expected = np.rint(_srgb_from_linear(gray / 255) * 255).astype(np.uint8)
    assert_same(pixels(encoded.body), expected, "gray-to-srgb", tolerance=1)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "AVIF"])
def test_an_rgb_profile_applies_to_gray_pictures(form: str) -> None:
    """As in browsers, since programs that convert a picture to gray often leave its profile unchanged."""
    gray = np.linspace(0, 255, 64).astype(np.uint8).reshape(8, 8, 1)
    data = saved(gray, form, icc_profile=LINEAR)
    kept, encoded = upscaled(data)
    assert kept.metadata.dropped == ()
    assert opened(encoded.body).info["icc_profile"][16:20] == b"GRAY"
    expected = np.rint(_srgb_from_linear(read(data, wanted(2), DecodeLimits()).frames[0] / 255) * 255).astype(np.uint8)
    for body in (data, encoded.body):
        _, converted = upscaled(body, color="srgb")
        assert_same(pixels(converted.body), expected, f"gray-by-rgb-{form}", data, tolerance=1)


@pytest.mark.parametrize("kind", ["sRGB", "tinted"])
def test_srgb_and_tinted_profiles_of_gray_pictures_are_dropped(kind: str) -> None:
    linear = b"para" + bytes(8) + struct.pack(">i", 1 << 16)
    assert LINEAR.count(linear) == 3
    tinted = LINEAR.replace(linear, linear[:-4] + struct.pack(">i", 3 << 16), 1)
    decoded, encoded = upscaled(
        saved(picture(8, 8, 1), "JPEG", icc_profile=srgb_profile() if kind == "sRGB" else tinted)
    )
    assert decoded.metadata.dropped == ("icc dropped (not for these samples)",)
    assert "icc_profile" not in opened(encoded.body).info


def test_the_gamma_of_a_png_becomes_a_profile() -> None:
    samples = picture(8, 8, 3)
    _, kept = upscaled(write_png(samples, 2, 8, extra=[_GAMMA_1]))
    assert "icc_profile" in opened(kept.body).info
    _, converted = upscaled(write_png(samples, 2, 8, extra=[_GAMMA_1]), color="srgb")
    expected = np.rint(_srgb_from_linear(samples / 255) * 255).astype(np.uint8)
    assert_same(pixels(converted.body), expected, "gama", tolerance=1)


@pytest.mark.parametrize("profile", [b"no profile", GRAY_LINEAR], ids=["nonsense", "of gray"])
def test_an_unusable_profile_falls_back_to_the_gamma(profile: bytes) -> None:
    samples = picture(8, 8, 3)
    data = write_png(samples, 2, 8, extra=[(b"iCCP", b"x\0\0" + _deflated(profile)), _GAMMA_1])
    _, converted = upscaled(data, color="srgb")
    expected = np.rint(_srgb_from_linear(samples / 255) * 255).astype(np.uint8)
    assert_same(pixels(converted.body), expected, "gama-behind-profile", tolerance=1)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_gamma_of_a_gray_png_becomes_a_gray_profile(channels: int, dtype: type) -> None:
    samples, full = picture(8, 8, channels, dtype), np.iinfo(dtype).max
    samples[..., 1:] |= 1  # colour under alpha 0 is not kept
    data = write_png(samples, 0 if channels == 1 else 4, 8 * dtype().itemsize, extra=[_GAMMA_1, *_PRIMARIES])
    _, kept = upscaled(data)
    assert profile_channels(opened(kept.body).info["icc_profile"]) == 1
    _, converted = upscaled(data, color="srgb")
    expected = samples.copy()
    expected[..., 0] = np.rint(_srgb_from_linear(samples[..., 0] / full) * full)
    assert_same(pixels(converted.body), expected, f"gray-gama-{channels}", data, tolerance=1 if full == 255 else 200)


@pytest.mark.parametrize(
    ("target", "kept"), [("png", True), ("tiff", True), ("jpeg", True), ("webp", False), ("avif", False)]
)
def test_a_gray_profile_is_only_written_to_gray_results(target: Any, kept: bool) -> None:
    samples = np.arange(64, dtype=np.uint8).reshape(8, 8, 1) * 4
    _, encoded = upscaled(saved(samples, "PNG", icc_profile=GRAY_LINEAR), format=target, encode=wanted(format=target))
    image = opened(encoded.body)
    assert ("icc_profile" in image.info) is kept
    if not kept:
        expected = np.rint(_srgb_from_linear(samples / 255) * 255).astype(np.uint8).repeat(3, axis=2)
        assert_same(np.asarray(image), expected, f"gray-profile-{target}", tolerance=1 if target == "webp" else 4)


def _linear(srgb: Array) -> Array:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _p3_as_srgb(samples: Array) -> Array:
    """Display P3 converted to sRGB with the matrices of both sets of primaries, in float64."""
    to_xyz = []
    for primaries in ((0.68, 0.32, 0.265, 0.69, 0.15, 0.06), (0.64, 0.33, 0.3, 0.6, 0.15, 0.06)):
        colors = np.array([[x / y, 1, (1 - x - y) / y] for x, y in zip(primaries[::2], primaries[1::2], strict=True)]).T
        white = np.array([0.3127 / 0.329, 1, (1 - 0.3127 - 0.329) / 0.329])
        to_xyz.append(colors * np.linalg.solve(colors, white))
    light = _linear(samples / 255) @ np.linalg.solve(to_xyz[1], to_xyz[0]).T
    srgb: Array = np.rint(_srgb_from_linear(np.clip(light, 0, 1)) * 255).astype(np.uint8)
    return srgb


def _cicp(primaries: int, transfer: int, full_range: int = 1) -> tuple[bytes, bytes]:
    return b"cICP", bytes((primaries, transfer, 0, full_range))


@pytest.mark.parametrize("others", [[], [_GAMMA_1], [(b"sRGB", b"\0")]], ids=["alone", "with gAMA", "with sRGB"])
def test_code_points_of_a_png_become_a_profile(others: list[tuple[bytes, bytes]]) -> None:
    samples = picture(8, 8, 3) // 2 + 64
    data = write_png(samples, 2, 8, extra=[_cicp(12, 13), *others])
    _, kept = upscaled(data)
    assert profile_channels(opened(kept.body).info["icc_profile"]) == 3
    _, converted = upscaled(data, color="srgb")
    assert_same(pixels(converted.body), _p3_as_srgb(samples), "cicp-p3", data, tolerance=2)


@pytest.mark.parametrize("channels", [1, 3])
def test_code_points_of_linear_light_are_converted(channels: int) -> None:
    samples = picture(8, 8, channels)
    _, converted = upscaled(write_png(samples, 0 if channels == 1 else 2, 8, extra=[_cicp(1, 8)]), color="srgb")
    expected = np.rint(_srgb_from_linear(samples / 255) * 255).astype(np.uint8)
    assert_same(pixels(converted.body), expected, f"cicp-linear-{channels}", tolerance=1)


@pytest.mark.parametrize("code_points", [(2, 2, 1), (2, 16, 1), (9, 2, 1), (12, 13, 2), (255, 255, 1), (0, 13, 1)])
def test_meaningless_code_points_fall_back_to_the_next_colour_chunk(code_points: tuple[int, int, int]) -> None:
    samples = picture(8, 8, 3)
    _, alone = upscaled(write_png(samples, 2, 8, extra=[_cicp(*code_points)]), color="srgb")
    assert_same(pixels(alone.body), samples, "cicp-alone")
    _, both = upscaled(write_png(samples, 2, 8, extra=[_cicp(*code_points), _GAMMA_1]), color="srgb")
    expected = np.rint(_srgb_from_linear(samples / 255) * 255).astype(np.uint8)
    assert_same(pixels(both.body), expected, "cicp-gama", tolerance=1)


@pytest.mark.parametrize("transfer", [1, 6, 13, 14, 15])
def test_code_points_of_srgb_take_precedence_over_another_gamma(transfer: int) -> None:
    samples = picture(8, 8, 3)
    _, encoded = upscaled(write_png(samples, 2, 8, extra=[_cicp(1, transfer), _GAMMA_1]), color="srgb")
    assert_same(pixels(encoded.body), samples, "cicp-srgb")


@pytest.mark.parametrize(
    "points",
    [
        (11273, 2000, 0, 31270, 0, 31270, 0, 31270),
        (31270, 32900, 20000, 20000, 30000, 30000, 40000, 40000),
        (31270, 32900, 64000, 33000, 30000, 60000, 15000, 0),
        (31270, 32900, 164000, 33000, 30000, 60000, 15000, 6000),
    ],
    ids=["one point", "on a line", "without a luminance", "out of range"],
)
def test_degenerate_primaries_fall_back_to_the_gamma(points: tuple[int, ...]) -> None:
    samples, wrong = picture(8, 8, 3), (b"cHRM", struct.pack(">8I", *points))
    _, encoded = upscaled(write_png(samples, 2, 8, extra=[wrong, _GAMMA_1]), color="srgb")
    expected = np.rint(_srgb_from_linear(samples / 255) * 255).astype(np.uint8)
    assert_same(pixels(encoded.body), expected, "chrm-gama", tolerance=1)
    _, alone = upscaled(write_png(samples, 2, 8, extra=[wrong]), color="srgb")
    assert_same(pixels(alone.body), samples, "chrm")


def test_primaries_without_a_gamma_are_passed_over() -> None:
    """As in Chromium and Firefox."""
    samples = picture(8, 8, 3)
    _, encoded = upscaled(write_png(samples, 2, 8, extra=_PRIMARIES))
    assert {kind for kind, _ in chunks(encoded.body)} == {b"IHDR", b"IDAT", b"IEND"}
    _, converted = upscaled(write_png(samples, 2, 8, extra=_PRIMARIES), color="srgb")
    assert_same(pixels(converted.body), samples, "chrm-alone")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_gamma_and_primaries_of_srgb_are_kept(channels: int) -> None:
    """ImageMagick writes them to every PNG, and Chromium shows the shadows of such files darker than sRGB's."""
    gamma, color_type = (b"gAMA", (45455).to_bytes(4, "big")), {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    both = [*_PRIMARIES_OF_SRGB, gamma]
    data = write_png(picture(8, 8, channels) | 1, color_type, 8, extra=both)
    _, encoded = upscaled(data)
    assert [item for item in chunks(encoded.body) if item[0] not in (b"IHDR", b"IDAT", b"IEND")] == both
    _, alone = upscaled(write_png(picture(8, 8, channels) | 1, color_type, 8, extra=[gamma]))
    assert {kind for kind, _ in chunks(alone.body)} == {b"IHDR", b"IDAT", b"IEND"}
    _, converted = upscaled(data, color="srgb")
    assert {kind for kind, _ in chunks(converted.body)} == {b"IHDR", b"IDAT", b"IEND"}
    assert_same(pixels(converted.body), pixels(data), "gamma")


@pytest.mark.parametrize("target", ["jpeg", "webp", "avif", "tiff", "jxl"])
def test_the_gamma_of_srgb_does_not_become_a_profile(target: Any) -> None:
    gamma = (b"gAMA", (45455).to_bytes(4, "big"))
    data = write_png(picture(8, 8, 3), 2, 8, extra=[*_PRIMARIES_OF_SRGB, gamma])
    _, plain = upscaled(write_png(picture(8, 8, 3), 2, 8), encode=wanted(format=target))
    assert upscaled(data, encode=wanted(format=target))[1].body == plain.body


@pytest.mark.parametrize("channels", [1, 3])
def test_a_gamma_is_kept_in_jpeg_xl(channels: int) -> None:
    samples = picture(8, 8, channels)
    data = write_png(samples, 0 if channels == 1 else 2, 8, extra=[_GAMMA_1])
    _, encoded = upscaled(data, encode=wanted(format="jxl"))
    _, converted = upscaled(encoded.body, color="srgb")
    expected = np.rint(_srgb_from_linear(samples / 255) * 255).astype(np.uint8)
    assert_same(pixels(converted.body), expected, f"jxl-gamma-{channels}", tolerance=1)


def test_generated_profiles_have_a_fixed_date() -> None:
    """Otherwise the same picture would give different bytes a second later."""
    made = profile_from_png(1.0, None), profile_from_png(1.0, None, gray=True), profile(CodePoints(4, 4))
    assert [found and found[24:36] for found in made] == [struct.pack(">6H", 2000, 1, 1, 0, 0, 0)] * 3


BROKEN = DISPLAY_P3[:36] + b"none" + DISPLAY_P3[40:]
"""A profile without the signature."""
BROKEN_LATER = DISPLAY_P3[:128] + struct.pack(">I", 0) + DISPLAY_P3[132:]
"""A profile with a valid header but no tags."""


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF", "HEIC"])
@pytest.mark.parametrize(("icc", "color"), [(BROKEN, "keep"), (GRAY_LINEAR, "keep"), (BROKEN_LATER, "srgb")])
def test_an_unusable_profile_is_reported_as_dropped(form: str, icc: bytes, color: Any) -> None:
    decoded, encoded = upscaled(saved(picture(8, 8, 3), form, icc_profile=icc), color=color)
    assert decoded.metadata.dropped == ("icc dropped (not for these samples)",)
    assert "icc_profile" not in opened(encoded.body).info
    sound, _ = upscaled(saved(picture(8, 8, 3), form, icc_profile=DISPLAY_P3), color=color)
    assert sound.metadata.dropped == ()


def test_the_code_points_of_an_avif_count_if_its_profile_is_unusable() -> None:
    data = saved(picture(8, 8, 3), "AVIF", icc_profile=BROKEN)
    at = data.index(b"nclx") + 4
    assert upscaled(data[:at] + bytes((0, 12, 0, 13)) + data[at + 4 :])[0].metadata.cicp == (12, 13)


def test_a_profile_that_libjxl_refuses_is_reported_as_dropped() -> None:
    """A gray profile without a white point, as LittleCMS writes it."""
    data = saved(picture(8, 8, 1), "PNG", icc_profile=GRAY_LINEAR)
    decoded, encoded = upscaled(data, encode=wanted(format="jxl"))
    assert metadata_of(decoded, 1, None, wanted(format="jxl")).dropped == ("icc dropped (not accepted by jxl)",)
    assert_same(pixels(encoded.body), picture(8, 8, 1), "jxl-refused")
    assert metadata_of(decoded, 1, None, wanted(format="webp")).dropped == ()


def test_wide_gamut_to_srgb_agrees_with_pillow() -> None:
    samples = picture(16, 16, 3)
    _, encoded = upscaled(saved(samples, "PNG", icc_profile=DISPLAY_P3), color="srgb")
    by_pillow = ImageCms.profileToProfile(
        Image.fromarray(samples),
        ImageCms.ImageCmsProfile(io.BytesIO(DISPLAY_P3)),
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    assert by_pillow is not None
    assert_same(pixels(encoded.body), np.asarray(by_pillow), "p3-to-srgb", tolerance=1)


@pytest.mark.parametrize("profile", [b"", b"nonsense", DISPLAY_P3[:200], b"\0" * 500])
def test_a_broken_profile_is_ignored(profile: bytes) -> None:
    _, encoded = upscaled(saved(picture(3, 3, 3), "JPEG", icc_profile=profile), color="srgb")
    assert "icc_profile" not in opened(encoded.body).info
