"""BMPs with palettes of every depth, bit fields, both row orders, and both families of headers."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.codec.code_points import CodePoints, profile
from app.codec.reader import read
from app.codec.types import DecodeLimits, Samples
from app.errors import UndecodablePicture
from tests.codec.support import picture, wanted

DISPLAY_P3 = profile(CodePoints(12, 13)) or b""
CASES = Path(__file__).parent / "cases"
BIT_FIELDS = {
    "565": (16, (0xF800, 0x07E0, 0x001F, 0)),
    "555": (16, (0x7C00, 0x03E0, 0x001F, 0)),
    "231": (16, (0x30, 0x0E, 0x01, 0)),
    "4444": (16, (0x0F00, 0x00F0, 0x000F, 0xF000)),
    "1555": (16, (0x7C00, 0x03E0, 0x001F, 0x8000)),
    "8888": (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
    "888 from the top": (32, (0xFF000000, 0xFF0000, 0xFF00, 0)),
    "10 10 10": (32, (0x3FF00000, 0xFFC00, 0x3FF, 0)),
}


def bmp(
    rows: NDArray[np.uint8],
    bits: int,
    width: int,
    *,
    palette: NDArray[np.uint8] | None = None,
    masks: tuple[int, ...] = (),
    header: int = 40,
    top_down: bool = False,
    compression: int | None = None,
) -> bytes:
    """`rows` (height, bytes) from the top down, unpadded; palette (n, 3) as RGB."""
    height = len(rows)
    entry = 3 if header == 12 else 4
    colors = b"" if palette is None else b"".join(bytes(color[::-1]) + bytes(entry - 3) for color in palette.tolist())
    kind = compression if compression is not None else 3 if masks else 0
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        used = 0 if palette is None else len(palette)
        info = struct.pack(
            "<IiiHHIIiiII", header, width, -height if top_down else height, 1, bits, kind, 0, 3937, 7874, used, 0
        )
        info += struct.pack("<4I", *masks)[: max(header - 40, 12)] if masks else b""
        info = info.ljust(header, b"\0")
    padded = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))
    body = (padded if top_down else padded[::-1]).tobytes()
    at = 14 + len(info) + len(colors)
    return struct.pack("<2sIHHI", b"BM", at + len(body), 0, 0, at) + info + colors + body


def decoded(data: bytes, **options: Any) -> Samples:
    return read(data, wanted(scale=2, **options), DecodeLimits()).frames[0]


def packed(indices: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    ones = (indices[..., None] >> np.arange(bits - 1, -1, -1) & 1).reshape(len(indices), -1)
    return np.packbits(ones.astype(np.uint8), axis=1)


PALETTES = {
    "black and white": np.array([[0, 0, 0], [255, 255, 255]], np.uint8),
    "white and black": np.array([[255, 255, 255], [0, 0, 0]], np.uint8),
    "two grays": np.array([[40, 40, 40], [200, 200, 200]], np.uint8),
    "two colours": np.array([[255, 0, 0], [0, 0, 255]], np.uint8),
}


@pytest.mark.parametrize("header", [12, 40, 56, 108, 124])
@pytest.mark.parametrize("top_down", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("palette", PALETTES.values(), ids=PALETTES)
def test_two_colours_are_read_at_every_depth(
    palette: NDArray[np.uint8], bits: int, top_down: bool, header: int
) -> None:
    if header == 12 and top_down:
        pytest.skip("OS/2 bitmaps have no negative height")
    indices = picture(5, 13, 1)[..., 0] & 1
    data = bmp(packed(indices, bits), bits, 13, palette=palette, header=header, top_down=top_down)
    colors = palette if (palette != palette[:, :1]).any() else palette[:, :1]
    np.testing.assert_array_equal(decoded(data), colors[indices])


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("ramp", ["gray", "reversed gray", "colour"])
def test_full_palettes_are_read(bits: int, ramp: str) -> None:
    count = 1 << bits
    palette = (np.arange(count) * (255 // (count - 1))).astype(np.uint8)[:, None].repeat(3, 1)
    palette = {"gray": palette, "reversed gray": palette[::-1], "colour": palette ^ np.array([0, 255, 15], np.uint8)}[
        ramp
    ]
    indices = (picture(5, 13, 1)[..., 0].astype(int) % count).astype(np.uint8)
    colors = palette if ramp == "colour" else palette[:, :1]
    np.testing.assert_array_equal(decoded(bmp(packed(indices, bits), bits, 13, palette=palette)), colors[indices])


def test_an_identity_palette_of_sixteen_grays_is_read() -> None:
    """Its entries equal their indices, which Pillow mistakes for eight bits per pixel."""
    palette = np.arange(16, dtype=np.uint8)[:, None].repeat(3, 1)
    indices = picture(5, 13, 1)[..., 0] % 16
    np.testing.assert_array_equal(decoded(bmp(packed(indices, 4), 4, 13, palette=palette))[..., 0], indices)


def test_indices_beyond_a_short_palette_are_black() -> None:
    indices = np.array([[0, 1, 2, 3]], np.uint8)
    palette = np.array([[9, 9, 9], [250, 1, 2]], np.uint8)
    expected = [[[9, 9, 9], [250, 1, 2], [0, 0, 0], [0, 0, 0]]]
    np.testing.assert_array_equal(decoded(bmp(packed(indices, 8), 8, 4, palette=palette)), expected)


@pytest.mark.parametrize(
    ("row", "shown"), [([2, 1, 0, 1], [[0, 1, 2], [9] * 3, [9] * 3, [9] * 3]), ([1, 0, 1, 0], [[9]] * 4)]
)
def test_palettes_that_overlap_the_pixels_are_read(row: list[int], shown: list[list[int]]) -> None:
    """As Chromium, Pillow and ImageMagick read them."""
    data = bytearray(bmp(np.array([row], np.uint8), 8, 4, palette=np.full((2, 3), 9, np.uint8)))
    data[46:50] = bytes(4)  # declares all 256 colours of 8 bits, of which only two are stored before the pixels
    np.testing.assert_array_equal(decoded(bytes(data)), [shown])


@pytest.mark.parametrize("header", [40, 52, 56, 108, 124])
@pytest.mark.parametrize("name", BIT_FIELDS)
def test_bit_fields_are_scaled_from_their_own_full_scale(name: str, header: int) -> None:
    bits, masks = BIT_FIELDS[name]
    if header < 56 and masks[3]:
        pytest.skip("these headers have no place for alpha")
    words = np.random.default_rng(1).integers(0, 1 << bits, (5, 7), dtype=np.uint32)
    rows = words.astype(f"<u{bits // 8}").view(np.uint8).reshape(5, -1)
    channels = []
    for mask in masks if masks[3] else masks[:3]:
        shift = (mask & -mask).bit_length() - 1
        values, full = (words & mask) >> shift, mask >> shift
        channels.append(np.floor(values.astype(np.float64) * 255 / full + 0.5))
    np.testing.assert_array_equal(decoded(bmp(rows, bits, 7, masks=masks, header=header)), np.stack(channels, -1))


@pytest.mark.parametrize(("bits", "full"), [(16, 31), (24, 255), (32, 255)])
def test_colour_without_bit_fields_is_read(bits: int, full: int) -> None:
    samples: NDArray[np.uint8] = np.bitwise_and(picture(5, 7, 3), full, dtype=np.uint8)
    if bits == 16:
        words = samples.astype(np.uint16) @ np.array([1024, 32, 1], np.uint16)
        rows = words.astype("<u2").view(np.uint8).reshape(5, -1)
    else:
        rows = np.pad(samples[..., ::-1], ((0, 0), (0, 0), (0, bits // 8 - 3)), constant_values=77).reshape(5, -1)
    expected = np.floor(samples * (255 / full) + 0.5)
    np.testing.assert_array_equal(decoded(bmp(np.asarray(rows, np.uint8), bits, 7)), expected)


def test_run_lengths_with_a_black_and_white_palette_are_read() -> None:
    runs = b"".join(bytes([3, row % 2, 2, 1 - row % 2, 0, 0]) for row in range(4)) + b"\0\1"
    data = bytearray(bmp(np.zeros((4, 5), np.uint8), 8, 5, palette=PALETTES["black and white"], compression=1))
    at = struct.unpack_from("<I", data, 10)[0]
    light = decoded(bytes(data[:at]) + runs)[..., 0]
    np.testing.assert_array_equal(light[::-1] // 255, [[0, 0, 0, 1, 1], [1, 1, 1, 0, 0]] * 2)


def test_a_mask_saved_by_pillow_is_read() -> None:
    samples = decoded((CASES / "mask_by_pillow.bmp").read_bytes())
    assert (samples.shape, round(float(samples.mean()), 1)) == ((48, 64, 1), 88.1)


def test_the_resolution_is_kept() -> None:
    data = bmp(picture(5, 7, 3).reshape(5, -1), 24, 7)
    assert read(data, wanted(scale=2), DecodeLimits()).metadata.dpi is None
    dpi = read(data, wanted(scale=2, metadata="keep"), DecodeLimits()).metadata.dpi
    assert dpi == pytest.approx((200, 100), abs=0.01)


def test_missing_rows_are_refused_unless_allowed() -> None:
    whole = bmp(np.maximum(picture(6, 7, 3), np.uint8(1)).reshape(6, -1), 24, 7)
    cut = whole[: -2 * 24 - 5]
    with pytest.raises(UndecodablePicture, match="53 of 144 bytes of its pixels are missing"):
        decoded(cut)
    raster = read(cut, wanted(scale=2, truncated="allow"), DecodeLimits())
    assert raster.truncated
    np.testing.assert_array_equal(raster.frames[0][3:], decoded(whole)[3:])
    assert not raster.frames[0][:2].any()
    with pytest.raises(UndecodablePicture, match="no whole row"):
        decoded(whole[:60], truncated="allow")


@pytest.mark.parametrize(("bits", "compression"), [(5, 0), (24, 1), (8, 3), (24, 4), (16, 99)])
def test_unsupported_depths_and_compressions_are_refused(bits: int, compression: int) -> None:
    with pytest.raises(UndecodablePicture, match="not supported"):
        decoded(bmp(np.zeros((2, 8), np.uint8), bits, 2, compression=compression))


def test_a_bit_field_in_separate_pieces_is_refused() -> None:
    with pytest.raises(UndecodablePicture, match="bits are not next to each other"):
        decoded(bmp(np.zeros((2, 8), np.uint8), 32, 2, masks=(0xF0F, 0xF0, 0xF000, 0)))


@pytest.mark.parametrize("size", [16, 20, 24, 36, 48, 64])
@pytest.mark.parametrize("top_down", [False, True])
def test_os2_headers_may_be_shortened(size: int, top_down: bool) -> None:
    indices = np.arange(15, dtype=np.uint8).reshape(3, 5) % 4
    palette = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)], np.uint8)
    colors = b"".join(bytes(color[::-1]) + b"\0" for color in palette.tolist()) + bytes(4 * 252)
    info = struct.pack("<IiiHH", size, 5, -3 if top_down else 3, 1, 8).ljust(size, b"\0")
    body = np.pad(indices if top_down else indices[::-1], ((0, 0), (0, 3))).tobytes()
    at = 14 + size + len(colors)
    data = struct.pack("<2sIHHI", b"BM", at + len(body), 0, 0, at) + info + colors + body
    assert np.array_equal(decoded(data), palette[indices])
    with pytest.raises(UndecodablePicture):
        decoded(data[: 14 + size - 1])


@pytest.mark.parametrize("at", [14, 53])
def test_a_pixel_offset_inside_the_header_is_refused(at: int) -> None:
    data = bytearray(bmp(np.zeros((2, 6), np.uint8), 24, 2))
    struct.pack_into("<I", data, 10, at)
    with pytest.raises(UndecodablePicture, match=rf"begin at byte {at}, inside its header"):
        decoded(bytes(data))


@pytest.mark.parametrize("at", [0, 14 + 40])
@pytest.mark.parametrize("bits", [1, 4, 8, 24])
def test_without_a_pixel_offset_the_pixels_follow_the_palette(bits: int, at: int) -> None:
    rows = np.arange(12, dtype=np.uint8).reshape(2, 6) if bits == 24 else packed(np.array([[0, 1], [1, 1]]), bits)
    data = bmp(rows, bits, 2, palette=None if bits == 24 else PALETTES["two colours"])
    assert np.array_equal(decoded(data[:10] + struct.pack("<I", at) + data[14:]), decoded(data))


def _with_profile(rows: NDArray[np.uint8], bits: int, width: int, profile: bytes, **settings: Any) -> bytes:
    data = bytearray(bmp(rows, bits, width, header=124, **settings))
    data[70:74] = b"DEBM"
    struct.pack_into("<II", data, 126, len(data) - 14, len(profile))
    return bytes(data) + profile


@pytest.mark.parametrize("gray", [False, True])
def test_the_profile_of_a_version_5_header_is_kept_and_converted(gray: bool) -> None:
    color = (60, 60, 60) if gray else (60, 90, 180)
    palette = np.array([color[::-1]] * 2, np.uint8)
    for data in (
        _with_profile(np.tile(np.array(color, np.uint8), (2, 2)), 24, 2, DISPLAY_P3),
        _with_profile(np.zeros((2, 2), np.uint8), 8, 2, DISPLAY_P3, palette=palette),
    ):
        kept = read(data, wanted(scale=2), DecodeLimits())
        assert (kept.metadata.icc, kept.frames[0][0, 0].tolist()) == (DISPLAY_P3, list(color[::-1]))
        converted = read(data, wanted(scale=2, color="srgb"), DecodeLimits())
        expected = [60, 60, 60] if gray else [193, 83, 51]
        assert np.abs(converted.frames[0][0, 0].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("header", [108, 124])
def test_alpha_that_a_header_names_counts_without_bit_fields_too(header: int) -> None:
    rows = np.array([[30, 20, 10, 128, 60, 50, 40, 0]], np.uint8)
    masks = BIT_FIELDS["8888"][1]
    data = bmp(rows, 32, 2, masks=masks, header=header, compression=0)
    np.testing.assert_array_equal(decoded(data), [[(10, 20, 30, 128), (40, 50, 60, 0)]])
    # Of the rest, the fourth byte means nothing.
    rows[:, 3::4] = 0
    for other in (
        bmp(rows, 32, 2, masks=masks, header=header, compression=0),
        bmp(rows + 1, 32, 2, masks=(*masks[:3], 0), header=header, compression=0),
        bmp(rows + 1, 32, 2, masks=(*masks[:3], 0xFF), header=header, compression=0),
        bmp(rows + 1, 32, 2, masks=masks, header=56, compression=0),
    ):
        assert decoded(other).shape == (1, 2, 3)


@pytest.mark.parametrize(("at", "size"), [(2**31, 100), (0, 0), (124, 2**32 - 1)])
def test_a_profile_outside_the_file_is_ignored(at: int, size: int) -> None:
    data = bytearray(_with_profile(np.zeros((2, 6), np.uint8), 24, 2, b""))
    struct.pack_into("<II", data, 126, at, size)
    assert read(bytes(data), wanted(scale=2), DecodeLimits()).metadata.icc is None


def _runs(codes: bytes, bits: int = 8) -> bytes:
    """A run-length encoded BMP of 5 x 3 pixels, from the bottom up."""
    data = bytearray(bmp(np.zeros((3, 5), np.uint8), bits, 5, palette=COLORS, compression=1 if bits == 8 else 2))
    return bytes(data[: struct.unpack_from("<I", data, 10)[0]]) + codes


COLORS = np.array([(9, 8, 7), (255, 0, 0), (0, 255, 0), (0, 0, 255)], np.uint8)
WHOLE_RUNS = {
    "skips": (8, b"\2\2\0\2\1\1\2\3\0\1", [(0, 0, 0, 0, 0), (0, 0, 0, 3, 3), (2, 2, 0, 0, 0)]),
    "ends early": (8, b"\2\2\0\0\1\1\0\1", [(0, 0, 0, 0, 0), (1, 0, 0, 0, 0), (2, 2, 0, 0, 0)]),
    "short rows": (8, b"\2\2\0\0\1\1\0\0\0\3\1\2\3\0\0\0", [(1, 2, 3, 0, 0), (1, 0, 0, 0, 0), (2, 2, 0, 0, 0)]),
    "long rows": (8, b"\x09\2\0\0\4\1\0\4\1\2\3\3\0\0\5\3", [(3,) * 5, (1, 1, 1, 1, 1), (2,) * 5]),
    "four bits": (
        4,
        b"\5\x12\0\0\0\5\x12\x30\x10\0\0\0\3\x21\0\1",
        [(2, 1, 2, 0, 0), (1, 2, 3, 0, 1), (1, 2, 1, 2, 1)],
    ),
    "skips, four bits": (4, b"\2\x12\0\2\1\1\2\x33\0\1", [(0, 0, 0, 0, 0), (0, 0, 0, 3, 3), (1, 2, 0, 0, 0)]),
}


@pytest.mark.parametrize(("bits", "codes", "rows"), WHOLE_RUNS.values(), ids=WHOLE_RUNS)
def test_run_lengths_may_skip_pixels(bits: int, codes: bytes, rows: list[tuple[int, ...]]) -> None:
    raster = read(_runs(codes, bits), wanted(scale=2), DecodeLimits())
    np.testing.assert_array_equal(raster.frames[0], COLORS[np.array(rows)])
    assert not raster.truncated


@pytest.mark.parametrize(
    "codes", [b"\5\2\0\0\2\1", b"\5\2\0\0\0\5\1\2", b"\5\2\0\0\0\2\1", b"\5\2" + b"\0\2\0\0" * 999]
)
def test_run_lengths_that_are_cut_short_are_refused_unless_allowed(codes: bytes) -> None:
    with pytest.raises(UndecodablePicture, match="run lengths are cut short"):
        decoded(_runs(codes))
    raster = read(_runs(codes), wanted(scale=2, truncated="allow"), DecodeLimits())
    assert raster.truncated
    assert (raster.frames[0][2] == COLORS[2]).all()


SRGB_ENDS = ((0.64, 0.33), (0.3, 0.6), (0.15, 0.06))
P3_ENDS = ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))


def _calibrated(data: bytes, ends: Any, gammas: tuple[float, ...], kind: bytes = bytes(4), light: float = 1) -> bytes:
    """A version 4 BMP with these gammas and chromaticities (x, y) of red, green and blue, scaled by `light`."""
    fields = [round(light * value * 2**30) for x, y in ends for value in (x, y, (1 - x - y) * (y > 0))]
    fields += [round(gamma * 65536) for gamma in gammas]
    return data[:70] + kind + struct.pack("<12I", *fields) + data[122:]


@pytest.mark.parametrize(
    ("ends", "gammas", "expected"),
    [
        (SRGB_ENDS, (1.0,) * 3, [180, 128, 0]),
        (P3_ENDS, (2.2,) * 3, None),
        (P3_ENDS, (0.0,) * 3, None),
        (((0, 0),) * 3, (1.0,) * 3, [180, 128, 0]),
    ],
)
@pytest.mark.parametrize("light", [1, 0.4])
def test_calibrated_colours_become_a_profile_and_are_converted(
    ends: Any, gammas: Any, expected: Any, light: float
) -> None:
    color = [round(255 * ((value / 255 + 0.055) / 1.055) ** 2.4) for value in (180, 128)] + [0]
    color = color if expected else [180, 90, 60]
    data = bmp(np.array([color[::-1] * 2], np.uint8), 24, 2, header=108)
    shown = read(_calibrated(data, ends, gammas, light=light), wanted(2, color="srgb"), DecodeLimits()).frames[0][0, 0]
    # Display P3 as in test_avif, whose curve is that of sRGB, close to a gamma of 2.2.
    assert np.abs(shown.astype(int) - (expected or [193, 83, 51])).max() <= 4
    kept = read(_calibrated(data, ends, gammas), wanted(2), DecodeLimits())
    assert (kept.metadata.icc is not None, kept.frames[0][0, 0].tolist()) == (True, color)


@pytest.mark.parametrize("ends", [SRGB_ENDS, ((0, 0),) * 3])
@pytest.mark.parametrize("gammas", [(2.2,) * 3, (0.0,) * 3])
def test_calibrated_colours_that_are_srgb_or_invalid_need_no_profile(ends: Any, gammas: Any) -> None:
    data = _calibrated(bmp(np.zeros((1, 6), np.uint8), 24, 2, header=108), ends, gammas)
    assert read(data, wanted(2), DecodeLimits()).metadata.icc is None


@pytest.mark.parametrize(("kind", "srgb"), [(b"BGRs", True), (b" niW", True), (b"KNIL", False)])
def test_a_bmp_may_be_tagged_as_srgb(kind: bytes, srgb: bool) -> None:
    data = _calibrated(bmp(np.zeros((1, 6), np.uint8), 24, 2, header=108), P3_ENDS, (1.0,) * 3, kind)
    found = read(data, wanted(2), DecodeLimits()).metadata
    assert (found.srgb, found.icc) == (srgb, None)


def test_a_calibrated_palette_of_grays_stays_gray() -> None:
    palette = np.array([(0, 0, 0), (55, 55, 55)], np.uint8)
    data = _calibrated(bmp(np.ones((1, 2), np.uint8), 8, 2, palette=palette, header=108), SRGB_ENDS, (1.0,) * 3)
    converted = read(data, wanted(2, color="srgb"), DecodeLimits()).frames[0]
    assert converted.shape[2] == 1
    assert abs(int(converted[0, 0, 0]) - 128) <= 1
