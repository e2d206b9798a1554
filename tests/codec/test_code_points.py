"""Colours given by code points (ITU-T H.273): PQ, HLG and wide gamuts are kept, whatever the output format."""

import functools
import io
import json
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from app.codec import av1, heif, hevc, jxl_profile
from app.codec.code_points import CodePoints, profile
from app.codec.color_management import to_srgb
from app.codec.reader import read
from app.codec.types import DecodeLimits
from tests.codec.png_reference import chunks, write_png
from tests.codec.support import Array, assert_same, picture, pixels, upscaled, wanted

PQ, HLG = (9, 16), (9, 18)
MASTERING = (34000, 16000, 13250, 34500, 7500, 3000, 15635, 16450, 10_000_000, 50)
LIGHT = (10_000_000, 4_000_000)
LIMITS = DecodeLimits()


def _smooth(height: int = 48, width: int = 64, channels: int = 3) -> Array:
    rows, columns, planes = np.mgrid[0:height, 0:width, 0:channels]
    levels: Array = ((rows * 700 + columns * 400 + planes * 9000) % 65536).astype(np.uint16)
    return levels


def _png(samples: Array, cicp: tuple[int, ...], *more: tuple[bytes, bytes]) -> bytes:
    body = bytes(cicp) if len(cicp) == 4 else bytes((*cicp, 0, 1))
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[samples.shape[2]]
    return write_png(samples, color_type, 8 * samples.itemsize, extra=[(b"cICP", body), *more])


def _avif(points: tuple[int, int], bits: int, boxes: bool = False) -> bytes:
    samples = (_smooth() >> (16 - bits)).astype(np.uint16 if bits > 8 else np.uint8)
    form: dict[str, Any] = {"primaries": points[0], "transfer": points[1], "matrix": 9, "bitspersample": bits}
    return bytes(imagecodecs.avif_encode(samples, 90, pixelformat="444", **form))


def _found(data: bytes, **options: Any) -> dict[bytes, bytes]:
    return dict(chunks(upscaled(data, **options)[1].body))


def _icc(body: bytes) -> bytes:
    found: bytes = Image.open(io.BytesIO(body)).info["icc_profile"]
    return found


def _tag(profile: bytes, name: bytes) -> bytes:
    (count,) = struct.unpack_from(">I", profile, 128)
    entries = struct.iter_unpack(">4sII", profile[132 : 132 + 12 * count])
    start, size = next((start, size) for kind, start, size in entries if kind == name)
    return profile[start : start + size]


@pytest.mark.parametrize("points", [PQ, HLG, (12, 16), (1, 18), (9, 1), (12, 13), (9, 8), (10, 17), (9, 9)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_png_keeps_its_code_points_and_every_sample(points: tuple[int, int], dtype: type, channels: int) -> None:
    samples = picture(5, 7, channels, dtype)
    samples[..., -1] |= 1
    _, encoded = upscaled(_png(samples, points))
    assert_same(pixels(encoded.body), samples, "cicp")
    kinds = [kind for kind, _ in chunks(encoded.body)]
    assert dict(chunks(encoded.body))[b"cICP"] == bytes((*points, 0, 1))
    assert kinds[1] == b"cICP"
    described = points[1] not in (1, 13) if channels <= 2 else points[0] != 10
    assert (b"iCCP" in kinds) is described


def test_code_points_take_precedence_over_every_other_colour_chunk() -> None:
    others = [(b"iCCP", b"x\0\0" + bytes(4)), (b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 100_000))]
    found = _found(_png(_smooth(), PQ, *others))
    assert found[b"cICP"] == bytes((*PQ, 0, 1))
    assert {b"sRGB", b"gAMA"}.isdisjoint(found)
    srgb = _found(_png(_smooth(), (1, 13), *others))
    assert (srgb[b"sRGB"], b"cICP" in srgb, b"iCCP" in srgb) == (b"\1", False, False)


@pytest.mark.parametrize("transfer", [1, 6, 11, 12, 14, 15])
@pytest.mark.parametrize("channels", [1, 3])
def test_bt709_is_treated_as_srgb_but_keeps_its_code_points(transfer: int, channels: int) -> None:
    """ffmpeg declares BT.709 in PNGs extracted from videos, and Chromium shows those darker than sRGB."""
    data = _png(_smooth(channels=channels), (1, transfer))
    found = _found(data)
    assert (found[b"cICP"], found[b"sRGB"], b"iCCP" in found) == (bytes((1, transfer, 0, 1)), b"\1", False)
    plain = _found(data, color="srgb")
    assert (b"cICP" in plain, plain[b"sRGB"]) == (False, b"\1")
    for target in ("tiff", "jpeg", "webp"):
        assert _left_out(upscaled(data)[0], target) == ()
    _, encoded = upscaled(data, encode=wanted(format="jxl"))
    assert read(encoded.body, wanted(2), LIMITS).metadata.srgb


@pytest.mark.parametrize("transfer", [1, 11, 12])
@pytest.mark.parametrize("primaries", [1, 9])
def test_an_avif_declares_the_curve_by_which_browsers_show_video(primaries: int, transfer: int) -> None:
    """Chromium does not show an AVIF whose transfer characteristics are 11 or 12."""
    _, encoded = upscaled(_png(_smooth(), (primaries, transfer)), encode=wanted(format="avif"))
    assert struct.pack(">4sHH", b"nclx", primaries, 13) in encoded.body


@pytest.mark.parametrize("transfer", [1, 6, 11, 12, 14, 15])
@pytest.mark.parametrize("primaries", [5, 6, 9, 12])
def test_the_profile_of_video_has_the_curve_of_srgb(primaries: int, transfer: int) -> None:
    assert profile(CodePoints(primaries, transfer)) == profile(CodePoints(primaries, 13))


# By colour primaries: the x and y of white, red, green and blue (ITU-T H.273, table 2).
CHROMATICITIES = {
    4: (0.310, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (0.3127, 0.3290, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (0.3127, 0.3290, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (0.3127, 0.3290, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    8: (0.310, 0.316, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),
    9: (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    22: (0.3127, 0.3290, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),
}
SRGB = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def _to_cones(places: tuple[float, ...]) -> Array:
    """The matrix from linear RGB with these chromaticities to Bradford's cone responses, relative to white's."""
    white, *colors = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in zip(places[::2], places[1::2], strict=True))
    to_xyz = np.array(colors).T
    to_xyz = to_xyz * np.linalg.solve(to_xyz, white)
    matrix: Array = BRADFORD @ to_xyz / (BRADFORD @ white)[:, None]
    return matrix


@pytest.mark.parametrize("primaries", CHROMATICITIES)
def test_colors_of_all_primaries_are_converted_to_srgb(primaries: int) -> None:
    """Colours within sRGB's gamut, and white, whatever the white point is."""
    colors = np.stack(np.meshgrid(*[[112, 128, 144]] * 3), axis=-1).reshape(1, -1, 3).astype(np.uint8)
    colors = np.concatenate((colors, np.full((1, 1, 3), 255, np.uint8)), axis=1)
    icc = profile(CodePoints(primaries, 13))
    assert icc is not None
    found = to_srgb(colors, icc)
    assert found is not None
    levels = colors / 255
    light = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    light = light @ np.linalg.solve(_to_cones(SRGB), _to_cones(CHROMATICITIES[primaries])).T
    assert light.min() > 0.0031308  # so that nothing is clipped, and the curve is a power
    expected = 255 * (1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(found - expected).max() < 1


@pytest.mark.parametrize(("transfer", "gamma"), [(4, 2.2), (5, 2.8)])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_profile_of_a_power_is_a_number_and_not_a_table(transfer: int, gamma: float, channels: int) -> None:
    """Chromium shows a JPEG XL whose profile has tables as if it were sRGB."""
    found = profile(CodePoints(5, transfer), gray=channels == 1)
    assert found is not None and len(found) < 1000
    levels = np.arange(256, dtype=np.uint8)[None, :, None].repeat(channels, axis=2)
    shown, light = to_srgb(levels, found), (np.arange(256) / 255) ** gamma
    expected = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055) * 255
    assert shown is not None and np.abs(shown[0] - expected[:, None]).max() <= 1


def test_mastering_display_and_content_light_are_kept_with_code_points() -> None:
    more = (b"mDCV", struct.pack(">8H2I", *MASTERING)), (b"cLLI", struct.pack(">2I", *LIGHT))
    data = _png(_smooth(), PQ, *more)
    found = _found(data)
    assert (found[b"mDCV"], found[b"cLLI"]) == (more[0][1], more[1][1])
    for target in ("tiff", "webp", "jpeg", "jxl"):
        decoded, _ = upscaled(data)
        assert _left_out(decoded, target) == (
            f"mdcv dropped (no place in {target})",
            f"clli dropped (no place in {target})",
        )
    decoded, encoded = upscaled(data, encode=wanted(format="avif"))
    assert _left_out(decoded, "avif") == ()
    again = read(encoded.body, wanted(2), LIMITS).metadata
    assert (again.cicp, again.mastering, again.light) == (PQ, MASTERING, LIGHT)
    assert {b"mDCV", b"cLLI"}.isdisjoint(_found(data, color="srgb"))


def _left_out(decoded: Any, target: Any) -> tuple[str, ...]:
    from tests.codec.support import codec

    return codec().left_out(decoded, 1, wanted(format=target))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_limited_range_becomes_full_range(channels: int, dtype: type) -> None:
    samples = picture(16, 16, channels, dtype)
    samples[..., -1] |= 1
    _, encoded = upscaled(_png(samples, (*PQ, 0, 0)))
    unit, full, colors = np.iinfo(dtype).max // 255 if dtype == np.uint8 else 256, np.iinfo(dtype).max, channels
    colors -= channels in (2, 4)
    expected = samples.copy()
    expected[..., :colors] = np.floor((samples[..., :colors] - 16.0 * unit) * full / (219 * unit) + 0.5).clip(0, full)
    assert_same(pixels(encoded.body), expected, "narrow")
    assert dict(chunks(encoded.body))[b"cICP"] == bytes((*PQ, 0, 1))


@pytest.mark.parametrize("points", [PQ, HLG])
@pytest.mark.parametrize("bits", [8, 10, 12])
def test_an_avif_becomes_a_png_of_its_depth(points: tuple[int, int], bits: int) -> None:
    data = _avif(points, bits)
    decoded, encoded = upscaled(data)
    assert decoded.depth == (8 if bits == 8 else 16)
    assert dict(chunks(encoded.body))[b"cICP"] == bytes((*points, 0, 1))
    stored = imagecodecs.avif_decode(data)
    full = (1 << bits) - 1
    assert np.abs(pixels(encoded.body) / (255 if bits == 8 else 65535) - stored / full).max() <= (1 / full)


@pytest.mark.parametrize("points", [PQ, HLG])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_png_becomes_an_avif_of_ten_bits(points: tuple[int, int], channels: int) -> None:
    samples = _smooth(channels=channels)
    if channels in (2, 4):
        samples[..., -1] = 65535
        samples[:9, :9, -1] = 30000
    decoded, encoded = upscaled(_png(samples, points), encode=wanted(format="avif", quality=100), format="avif")
    again = read(encoded.body, wanted(2), LIMITS)
    assert (again.metadata.cicp, again.frames[0].shape) == (points, samples.shape)
    assert np.abs(again.frames[0] / 65535 - samples / 65535).max() < (1.5 if channels <= 2 else 8) / 1023
    assert heif.Items(encoded.body).primary[b"pixi"][5] == 10
    assert decoded.metadata.dropped == ()


def test_a_wide_gamut_without_hdr_becomes_an_avif_of_eight_bits() -> None:
    _, encoded = upscaled(_png(_smooth(), (12, 13)), encode=wanted(format="avif"))
    own = heif.Items(encoded.body).primary
    assert (own[b"pixi"][5], bytes(own[b"colr"][:8])) == (8, b"nclx" + struct.pack(">HH", 12, 13))


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("points", [PQ, HLG, (11, 16), (12, 13), (1, 8)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_jpeg_xl_results_have_the_code_points(points: tuple[int, int], lossless: bool, channels: int) -> None:
    samples = _smooth(channels=channels)
    if channels == 4:
        samples[..., -1] |= 1
    options = wanted(format="jxl", lossless=lossless)
    _, encoded = upscaled(_png(samples, points), encode=options, format="jxl")
    _, again = upscaled(encoded.body)
    found = dict(chunks(again.body))
    if channels == 1 and points[1] == 13:
        assert b"sRGB" in found
    else:
        assert found[b"cICP"] == bytes((*points, 0, 1) if channels > 1 else (1, points[1], 0, 1))
    difference = np.abs(pixels(again.body) / 65535 - samples / 65535)
    assert difference.max() == 0 if lossless else difference.mean() < 0.02


@pytest.mark.parametrize("target", ["tiff", "jpeg", "webp"])
@pytest.mark.parametrize("points", [PQ, HLG, (12, 13)])
def test_other_formats_get_an_equivalent_profile(target: Any, points: tuple[int, int]) -> None:
    decoded, encoded = upscaled(_png(_smooth(), points), encode=wanted(format=target))
    icc = _icc(encoded.body)
    ImageCms.ImageCmsProfile(io.BytesIO(icc))
    assert _tag(icc, b"cicp") == b"cicp\0\0\0\0" + bytes((*points, 0, 1))
    assert len(icc) < 8192
    assert _left_out(decoded, target) == ()


def test_code_points_that_a_format_cannot_express_are_reported_as_dropped() -> None:
    decoded, _ = upscaled(_png(_smooth(), (10, 17)))
    assert _left_out(decoded, "png") == _left_out(decoded, "avif") == ()
    for target in ("tiff", "jpeg", "webp", "jxl"):
        assert _left_out(decoded, target) == (f"cicp dropped (no place in {target})",)


def _pq(nits: float) -> float:
    """The code value for a luminance, by SMPTE ST 2084."""
    power = (nits / 10_000) ** 0.1593017578125
    return float(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375)


def test_color_srgb_maps_pq_to_the_range_of_sdr_displays() -> None:
    """Neutrals and the order are kept, shadows keep their light (of 250 cd/m²), and only the maximum is white."""
    nits = [0.0, 0.5, 2.0, 5.0, 20.0, 100.0, 203.0, 1000.0, 10_000.0]
    codes = np.rint([[_pq(value) * 65535 for value in nits]]).astype(np.uint16)
    _, encoded = upscaled(_png(codes[..., None].repeat(3, axis=2), PQ), color="srgb")
    shown = pixels(encoded.body)[0].astype(int)
    assert b"cICP" not in dict(chunks(encoded.body))
    assert np.abs(shown - shown[:, :1]).max() <= 3
    assert (np.diff(shown[:, 0]) > 0).all()
    shadows = np.array(nits[:5]) / 250
    expected = np.where(shadows <= 0.0031308, shadows * 12.92, 1.055 * shadows ** (1 / 2.4) - 0.055)
    assert np.abs(shown[:5, 1] / 65535 - expected).max() < 6 / 255
    assert shown[-1, 0] == 65535
    assert shown[-2, 0] < 65535


@pytest.mark.parametrize("points", [PQ, HLG])
@pytest.mark.parametrize("gray", [False, True])
def test_hdr_profiles_are_valid_for_littlecms(points: tuple[int, int], gray: bool) -> None:
    found = profile(CodePoints(*points), gray)
    assert found is not None
    imagecodecs.cms_profile_validate(found)
    assert len(found) < 8192


@pytest.mark.parametrize("primaries", [1, 9, 11, 12])
@pytest.mark.parametrize("transfer", [1, 8, 13, 17])
@pytest.mark.parametrize("gray", [False, True])
def test_both_ways_of_making_a_profile_agree(
    primaries: int, transfer: int, gray: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = CodePoints(primaries, transfer)
    samples = picture(16, 16, 1 if gray else 3, np.uint16)
    by_libjxl = profile.__wrapped__(points, gray)
    monkeypatch.setattr(jxl_profile, "made", lambda points, gray: None)
    by_littlecms = profile.__wrapped__(points, gray)
    if by_libjxl is None or by_littlecms is None:
        assert by_libjxl is by_littlecms is None
        return
    assert by_libjxl != by_littlecms
    one, other = (to_srgb(samples, found) for found in (by_libjxl, by_littlecms))
    assert one is not None
    assert other is not None
    assert np.abs(one.astype(int) - other).max() <= 65535 // 255


def test_code_points_survive_conversion_to_libjxl_names_and_back() -> None:
    for primaries in (1, 9, 11, 12):
        for transfer in (1, 8, 13, 16, 17, 18):
            named = jxl_profile.encoding((primaries, transfer), gray=False)
            assert named is not None
            assert jxl_profile.code_points(named) == (primaries, transfer)
    assert jxl_profile.encoding((5, 13), gray=False) is None


@pytest.mark.parametrize("choice", ["keep", "all"])
def test_an_avif_with_code_points_keeps_exif_and_xmp(choice: Any) -> None:
    exif = Image.Exif()
    exif[0x13B] = "Ada"
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">' + (
        b'<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"/></rdf:RDF></x:xmpmeta>'
    )
    more = (b"eXIf", exif.tobytes()[6:]), (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    light = (b"cLLI", struct.pack(">2I", *LIGHT))
    samples = _smooth(channels=4)
    samples[..., -1] |= 1
    _, encoded = upscaled(_png(samples, PQ, *more, light), metadata=choice, encode=wanted(format="avif"))
    with Image.open(io.BytesIO(encoded.body)) as image:
        assert image.getexif()[0x13B] == "Ada"
        assert b'Rating="4"' in image.info["xmp"]
        assert np.asarray(image).shape == (48, 64, 4)
    _, plain = upscaled(_png(samples, PQ, light), encode=wanted(format="avif"))
    assert np.array_equal(imagecodecs.avif_decode(encoded.body), imagecodecs.avif_decode(plain.body))


def _program(name: str, *arguments: str) -> str:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    return subprocess.run((name, *arguments), check=True, capture_output=True, text=True).stdout


def test_ffmpeg_reads_the_code_points_of_results(tmp_path: Path) -> None:
    _, encoded = upscaled(_png(_smooth(), PQ), encode=wanted(format="avif"))
    (tmp_path / "result.avif").write_bytes(encoded.body)
    said = _program("ffprobe", "-v", "error", "-show_streams", "-of", "json", str(tmp_path / "result.avif"))
    (stream,) = json.loads(said)["streams"]
    assert (stream["color_primaries"], stream["color_transfer"]) == ("bt2020", "smpte2084")
    assert (stream["color_range"], stream["pix_fmt"]) == ("pc", "yuv444p10le")


def test_libavif_reads_the_added_boxes(tmp_path: Path) -> None:
    more = (b"mDCV", struct.pack(">8H2I", *MASTERING)), (b"cLLI", struct.pack(">2I", *LIGHT))
    _, encoded = upscaled(_png(_smooth(), PQ, *more), encode=wanted(format="avif"))
    (tmp_path / "result.avif").write_bytes(encoded.body)
    said = _program("avifdec", "--info", str(tmp_path / "result.avif"))
    assert "Color Primaries: 9" in said
    assert "Transfer Char. : 16" in said


def test_exiftool_reads_the_chunks_of_results(tmp_path: Path) -> None:
    _, encoded = upscaled(_png(_smooth(), HLG))
    (tmp_path / "result.png").write_bytes(encoded.body)
    (said,) = json.loads(_program("exiftool", "-json", "-n", "-a", str(tmp_path / "result.png")))
    assert (said["ColorPrimaries"], said["TransferCharacteristics"]) == (9, 18)


@pytest.mark.parametrize("points", [PQ, HLG, (12, 13), (9, 8)])
@pytest.mark.parametrize("bits", [8, 10, 12])
def test_an_avif_without_colr_gets_its_code_points_from_av1(points: tuple[int, int], bits: int) -> None:
    with_box = _avif(points, bits)
    without = with_box.replace(b"colrnclx", b"freenclx")
    assert b"colr" not in without
    decoded, encoded = upscaled(without)
    assert decoded.metadata.cicp == points
    assert dict(chunks(encoded.body))[b"cICP"] == bytes((*points, 0, 1))
    assert_same(pixels(encoded.body), pixels(upscaled(with_box)[1].body), "with the box")


@pytest.mark.parametrize("points", [PQ, HLG, (12, 13)])
@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("parameters", [{}, {"x265:sar": "16:11", "x265:overscan": "show"}])
def test_a_heic_without_colr_gets_its_code_points_from_hevc(
    points: tuple[int, int], bits: int, parameters: dict[str, str]
) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    samples = _smooth()
    mode, body = ("RGB", (samples >> 8).astype(np.uint8)) if bits == 8 else ("RGB;16", samples)
    file = io.BytesIO()
    pillow_heif.from_bytes(mode, (64, 48), body.tobytes()).save(
        file,
        quality=90,
        color_primaries=points[0],
        transfer_characteristics=points[1],
        matrix_coefficients=9,
        full_range_flag=1,
        enc_params=parameters,
    )
    without = file.getvalue().replace(b"colrnclx", b"freenclx")
    assert b"colr" not in without
    decoded, encoded = upscaled(without)
    assert decoded.metadata.cicp == points
    assert dict(chunks(encoded.body))[b"cICP"] == bytes((*points, 0, 1))
    assert_same(pixels(encoded.body), pixels(upscaled(file.getvalue())[1].body), "with the box")


@pytest.mark.parametrize("box", ["colr says that it is unspecified", "colr says sRGB"])
def test_a_colr_box_takes_precedence_over_the_bitstream(box: str) -> None:
    said = struct.pack(">HH", *((2, 2) if "unspecified" in box else (1, 13)))
    data = _avif(PQ, 10).replace(b"colrnclx" + struct.pack(">HH", *PQ), b"colrnclx" + said)
    assert upscaled(data)[0].metadata.cicp is None


@settings(max_examples=200)
@given(st.data())
def test_any_hevc_header_gives_code_points_or_none(data: st.DataObject) -> None:
    whole = hvcc()
    at = data.draw(st.integers(22, len(whole) - 1))
    body = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    body[at : at + 3] = data.draw(st.binary(min_size=0, max_size=3))
    for found in (hevc.code_points(bytes(body)), av1.code_points(bytes(body[22:]))):
        assert found is None or len(found) == 2


@functools.cache
def hvcc() -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    pillow_heif.from_bytes("RGB", (16, 16), bytes(768)).save(file, color_primaries=9, transfer_characteristics=16)
    return bytes(heif.Items(file.getvalue()).primary[b"hvcC"])
