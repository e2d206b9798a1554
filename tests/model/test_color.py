"""Luma and chroma: against scikit-image, against published corner values, and back without loss."""

import numpy as np
import pytest
from skimage.color import rgb2ycbcr

from model.color import (
    RGB_FROM_YCBCR,
    YCBCR_FROM_RGB,
    linear_from_srgb,
    luma,
    luma_from_gray,
    rgb_from_ycbcr,
    srgb_from_linear,
    ycbcr_from_rgb,
)

PICTURE = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)


def test_ycbcr_equals_scikit_image() -> None:
    np.testing.assert_allclose(ycbcr_from_rgb(PICTURE / 255) * 255, rgb2ycbcr(PICTURE), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("rgb", "ycbcr"),
    [
        ((0, 0, 0), (16, 128, 128)),
        ((1, 1, 1), (235, 128, 128)),
        ((1, 0, 0), (81.481, 90.203, 240)),
        ((0, 1, 0), (144.553, 53.797, 34.214)),
        ((0, 0, 1), (40.966, 240, 109.786)),
    ],
)
def test_corners_of_the_rgb_cube_have_their_published_values(rgb: tuple[float, ...], ycbcr: tuple[float, ...]) -> None:
    np.testing.assert_allclose(ycbcr_from_rgb(np.array(rgb, float)) * 255, ycbcr, rtol=0, atol=1e-9)


@pytest.mark.parametrize("peak", [255, 65535])
def test_round_trip_is_exact_on_codes(peak: int) -> None:
    codes = np.random.default_rng(1).integers(0, peak + 1, (64, 64, 3))
    back = rgb_from_ycbcr(ycbcr_from_rgb(codes / peak))
    np.testing.assert_allclose(back * peak, codes, rtol=0, atol=1e-9 * peak)
    np.testing.assert_array_equal(np.rint(back * peak).astype(int), codes)


@pytest.mark.parametrize("peak", [255, 65535])
def test_round_trip_through_float32_planes_is_exact_on_codes(peak: int) -> None:
    """What the service does: planes are float32 between the two conversions."""
    codes = np.random.default_rng(2).integers(0, peak + 1, (64, 64, 3))
    planes = ycbcr_from_rgb(codes / peak).astype(np.float32)
    np.testing.assert_array_equal(np.rint(rgb_from_ycbcr(planes) * peak).astype(int), codes)


def test_the_matrices_are_inverse() -> None:
    np.testing.assert_allclose(RGB_FROM_YCBCR @ YCBCR_FROM_RGB, np.eye(3), rtol=0, atol=1e-14)


def test_luma_is_computed_from_colour_and_from_gray() -> None:
    assert luma(PICTURE).shape == (7, 5)
    np.testing.assert_allclose(luma(PICTURE), ycbcr_from_rgb(PICTURE / 255)[..., 0], rtol=0, atol=1e-15)
    gray = PICTURE[..., 0]
    as_colour = np.repeat(gray[..., None], 3, axis=2)
    np.testing.assert_allclose(luma(gray), luma(as_colour), rtol=0, atol=1e-15)
    np.testing.assert_allclose(luma_from_gray(gray / 255) * 255, 16 + 219 / 255 * gray, rtol=0, atol=1e-12)


def test_everything_is_float64() -> None:
    rgb = (PICTURE / 255).astype(np.float32)
    results = (ycbcr_from_rgb(rgb), rgb_from_ycbcr(rgb), luma_from_gray(rgb[..., 0]), luma(PICTURE))
    assert [result.dtype.name for result in results] == ["float64"] * 4


def test_srgb_and_linear_light_are_inverse() -> None:
    """Mid-gray, code 188, is half of the light; the two branches meet, and each function undoes the other."""
    light = linear_from_srgb(np.array([0.0, 0.02, 188 / 255, 1.0]))
    np.testing.assert_allclose(light, [0, 0.02 / 12.92, 0.5029, 1], atol=1e-4)
    values = np.arange(256) / 255
    np.testing.assert_allclose(srgb_from_linear(linear_from_srgb(values)), values, atol=1e-7)
