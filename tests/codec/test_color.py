"""Colours are kept: flat pictures exactly, ramps within a level of a float64 reference, 16 bits without loss."""

import struct

import numpy as np
import pytest

from app.codec.color_management import made_profile, to_srgb
from app.codec.merge import merge
from app.codec.split import split
from model import color, resample
from tests.codec.support import (
    FORMULAS,
    Array,
    assert_same,
    bicubic,
    codec,
    nearest,
    picture,
    pixels,
    saved,
    upscaled,
    wanted,
)

pytestmark = pytest.mark.usefixtures("implementation")
ODD_SIZES = [(1, 1), (1, 7), (7, 1), (7, 5), (5, 3), (13, 17), (2, 31), (8, 8), (9, 64)]


def _ideal(samples: Array, scale: int, full: int) -> Array:
    """The bicubic enlargement of every plane in float64, by the definitions in `model`, rounded once."""
    height, width = samples.shape[0] * scale, samples.shape[1] * scale
    ycbcr = color.ycbcr_from_rgb(samples / full)
    large = np.stack([resample.resize(ycbcr[..., c], height, width) for c in range(3)], axis=-1)
    return np.clip(np.rint(color.rgb_from_ycbcr(large) * full), 0, full).astype(samples.dtype)


def _merged(samples: Array, scale: int) -> Array:
    planes = split(samples, FORMULAS)
    enlarged = tuple(bicubic(plane, scale) for plane in planes.planes)
    return merge(planes, enlarged, scale, 16 if samples.itemsize == 2 else 8, FORMULAS)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_flat_colors_are_exact_over_the_whole_cube(scale: int) -> None:
    # Every 17th level and those next to the ends, on each axis; one picture of 3 x 3 pixels for each colour.
    levels = sorted({*range(0, 256, 17), 1, 2, 127, 128, 253, 254})
    rng = np.random.default_rng(scale)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    for rgb in cube[rng.permutation(len(cube))[:300]]:
        flat = np.broadcast_to(rgb.astype(np.uint8), (3, 3, 3))
        planes = split(flat, FORMULAS)
        out = merge(planes, (nearest(planes.luma, scale),), scale, 8, FORMULAS)
        assert (out == rgb).all(), rgb


def test_random_colors_survive_split_and_merge_exactly() -> None:
    rng = np.random.default_rng(7)
    samples = rng.integers(0, 256, (1000, 1000, 3), dtype=np.uint8)
    planes = split(samples, FORMULAS)
    assert np.array_equal(merge(planes, planes.planes, 1, 8, FORMULAS), samples)


def test_luma_errors_of_a_thousandth_do_not_change_the_result() -> None:
    samples = np.random.default_rng(3).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    planes = split(samples, FORMULAS)
    for error in (-0.0012, 0.0012):
        off = (planes.luma + np.float32(error),)
        assert np.array_equal(merge(planes, off, 1, 8, FORMULAS), samples)


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_ramps_are_within_a_level_of_float64(scale: int, dtype: type) -> None:
    full = np.iinfo(dtype).max
    rows, columns = np.mgrid[0:40, 0:56]
    ramp = np.stack([rows / 39, columns / 55, (rows + columns) / 94], axis=-1)
    samples = np.rint(ramp * full).astype(dtype)
    assert_same(_merged(samples, scale), _ideal(samples, scale, full), f"ramp-{scale}-{dtype.__name__}", tolerance=1)


@pytest.mark.parametrize(("height", "width"), ODD_SIZES)
@pytest.mark.parametrize("scale", [2, 4])
def test_odd_sizes_become_exactly_scale_times_as_large(height: int, width: int, scale: int) -> None:
    samples = picture(height, width, 3)
    _, encoded = upscaled(saved(samples, "PNG"), scale, upscaler=bicubic)
    assert pixels(encoded.body).shape[:2] == (height * scale, width * scale)
    assert_same(pixels(encoded.body), _ideal(samples, scale, 255), f"odd-{height}-{width}-{scale}", tolerance=1)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bit_samples_survive_float32(channels: int) -> None:
    samples = picture(64, 64, channels, np.uint16)
    samples[..., -1] = np.maximum(samples[..., -1], 1)
    planes = split(samples, FORMULAS)
    assert np.array_equal(merge(planes, planes.planes, 1, 16, FORMULAS), samples)


def test_gray_stays_gray_at_every_level() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    decoded, encoded = upscaled(saved(ramp, "PNG"), 4)
    assert decoded.frames[0].chroma is None
    assert_same(pixels(encoded.body), ramp.repeat(4, axis=0).repeat(4, axis=1), "gray-ramp")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("alpha", [False, True])
def test_gray_in_three_channels_stays_equal_in_all(dtype: type, alpha: bool) -> None:
    """Exactly: chroma that is not quite zero made one in a hundred 16-bit samples differ by one."""
    gray = np.random.default_rng(3).integers(0, np.iinfo(dtype).max, (40, 37, 1), dtype, endpoint=True)
    rest = [np.roll(gray, 5, axis=0)] if alpha else []
    made = _merged(np.concatenate([gray, gray, gray, *rest], axis=2), 4)
    assert (made[..., :3] == made[..., :1]).all()
    one = _merged(np.concatenate([gray, *rest], axis=2), 4)
    assert abs(made[..., 0].astype(int) - one[..., 0]).max() <= 1


def test_luma_is_the_studio_range_that_the_network_was_trained_on() -> None:
    samples = picture(5, 7, 3)
    gray = picture(5, 7, 1)
    assert np.allclose(split(samples, FORMULAS).luma, color.luma(samples), atol=1e-6)
    assert np.allclose(split(gray, FORMULAS).luma, color.luma(gray[..., 0]), atol=1e-6)


def test_planes_are_float32_and_contiguous() -> None:
    decoded = codec().decode(saved(picture(5, 7, 4), "PNG"), wanted(scale=4))
    frame = decoded.frames[0]
    assert frame.chroma is not None
    for plane in (*frame.planes, *frame.chroma):
        assert plane.dtype == np.float32
        assert plane.shape == (5, 7)
        assert plane.flags.c_contiguous


def test_a_plane_of_the_wrong_size_is_refused() -> None:
    service = codec()
    decoded = service.decode(saved(picture(5, 7, 3), "PNG"), wanted(scale=4))
    with pytest.raises(ValueError, match=r"\(7, 5\).*\(20, 28\)"):
        service.encode(decoded, [[np.zeros((7, 5), np.float32)]], 4, wanted())


def test_threads_and_strips_do_not_change_the_result() -> None:
    from concurrent.futures import ThreadPoolExecutor

    planes = split(picture(61, 33, 3), FORMULAS)
    enlarged = (bicubic(planes.luma, 4),)
    with ThreadPoolExecutor(3) as pool:
        together = merge(planes, enlarged, 4, 8, FORMULAS, pool)
    assert np.array_equal(together, merge(planes, enlarged, 4, 8, FORMULAS))


WHITE = (0.3127, 0.329, 1.0)
ADOBE = made_profile("rgb", WHITE, primaries=[0.64, 0.33, 1, 0.21, 0.71, 1, 0.15, 0.06, 1], gamma=2.19921875)


def _noise(dtype: type) -> Array:
    samples: Array = np.random.default_rng(3).integers(0, np.iinfo(dtype).max, (60, 60, 3), dtype, endpoint=True)
    return samples


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colors_outside_srgb_are_clipped_to_its_gamut(dtype: type) -> None:
    """Against Adobe RGB computed in float64; a shortcut once made 16-bit samples up to 20 of 255 levels off."""
    samples, full = _noise(dtype), np.iinfo(dtype).max
    shown = to_srgb(samples, ADOBE)
    assert shown is not None
    linear = (samples / full) ** 2.19921875 @ np.linalg.solve(_to_xyz(0.3, 0.6), _to_xyz(0.21, 0.71)).T
    linear = linear.clip(0, 1)
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)
    assert np.abs(shown / full - expected).max() < 1.1 / 255


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_processing_elements_of_a_profile_are_not_executed(dtype: type) -> None:
    """A profile may hold thousands of them for every pixel; this one makes everything black. (ICC.1:2022, 10.18.)"""
    black = b"matf\0\0\0\0" + struct.pack(">2H12f", 3, 3, *[0] * 12)
    steps = b"mpet\0\0\0\0" + struct.pack(">2H3I", 3, 3, 1, 24, len(black)) + black
    profile = ADOBE[:8] + b"\4\x30" + ADOBE[10:]
    expected = to_srgb(_noise(dtype), profile)
    for name in (b"D2B0", b"D2B1"):
        profile = _with_tag(profile, name, steps)
    shown = to_srgb(_noise(dtype), profile)
    assert expected is not None
    assert shown is not None
    assert np.array_equal(shown, expected)


def _with_tag(profile: bytes, name: bytes, body: bytes) -> bytes:
    """The profile with one more tag at its end; the existing data moves by one table entry."""
    (count,) = struct.unpack_from(">I", profile, 128)
    entries = [struct.unpack_from(">4sII", profile, 132 + 12 * index) for index in range(count)]
    table = b"".join(struct.pack(">4sII", kind, at + 12, size) for kind, at, size in entries)
    rest = profile[132 + 12 * count :]
    entry = struct.pack(">4sII", name, len(profile) + 12, len(body))
    return struct.pack(">I", len(profile) + 12 + len(body)) + b"".join(
        (profile[4:128], struct.pack(">I", count + 1), table, entry, rest, body)
    )


def _to_xyz(x: float, y: float) -> Array:
    """The matrix from RGB to XYZ at D65, with the red and blue of sRGB and a green at (x, y). (SMPTE RP 177.)"""
    ends = np.array([(0.64, 0.33), (x, y), (0.15, 0.06)])
    columns = np.stack([ends[:, 0] / ends[:, 1], np.ones(3), (1 - ends.sum(axis=1)) / ends[:, 1]])
    return columns * np.linalg.solve(columns, [0.3127 / 0.329, 1, (1 - 0.3127 - 0.329) / 0.329])
