"""CMYK is converted to sRGB with the profile in the file, at the depth of the file."""

import io
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from app.codec.color_management import to_srgb
from tests.codec.png_reference import chunks
from tests.codec.profiles import cmyk_profile
from tests.codec.support import Array, assert_same, opened, picture, pixels, saved, upscaled

PROFILE = cmyk_profile()


def _by_pillow(inks: Array) -> Array:
    image = Image.frombytes("CMYK", (inks.shape[1], inks.shape[0]), inks.tobytes())
    source, target = ImageCms.ImageCmsProfile(io.BytesIO(PROFILE)), ImageCms.createProfile("sRGB")
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    done = ImageCms.profileToProfile(image, source, target, outputMode="RGB", renderingIntent=intent)
    assert done is not None
    return np.asarray(done)


@pytest.mark.parametrize("color", ["keep", "srgb"])
@pytest.mark.parametrize(("form", "settings"), [("TIFF", {}), ("JPEG", {"quality": 100, "subsampling": 0})])
def test_eight_bit_results_agree_with_pillow(form: str, settings: dict[str, Any], color: Any) -> None:
    rows, columns = np.indices((24, 24))
    inks = np.stack([rows * 10, columns * 10, 240 - rows * 9, columns * 4], axis=-1).astype(np.uint8)
    data = saved(inks, form, "CMYK", icc_profile=PROFILE, **settings)
    inks = np.asarray(opened(data))
    _, encoded = upscaled(data, color=color)
    assert_same(pixels(encoded.body), _by_pillow(inks), f"cmyk-{form}", data, tolerance=1)
    assert (b"sRGB", b"\1") in list(chunks(encoded.body))
    assert "icc_profile" not in opened(encoded.body).info


def test_sixteen_bits_are_kept() -> None:
    coarse = picture(16, 16, 4)
    file = io.BytesIO()
    tags = [(34675, 7, len(PROFILE), PROFILE, True)]
    stored = coarse.astype(np.uint16) * 257
    tifffile.imwrite(file, stored, photometric="separated", metadata=None, extratags=tags)
    decoded, encoded = upscaled(file.getvalue())
    out = pixels(encoded.body)
    assert decoded.depth == 16
    assert out.dtype == np.uint16
    assert_same(np.rint(out / 257).astype(np.uint8), _by_pillow(coarse), "cmyk-16", file.getvalue(), tolerance=1)
    assert (out % 257 != 0).mean() > 0.9  # values between the levels of 8 bits


def test_a_fine_ramp_of_black_ink_has_more_levels_than_eight_bits_hold() -> None:
    inks = np.zeros((1, 4000, 4), np.uint16)
    inks[..., 3] = np.arange(4000) * 16
    file = io.BytesIO()
    tifffile.imwrite(file, inks, photometric="separated", metadata=None)
    _, encoded = upscaled(file.getvalue())
    assert len(np.unique(pixels(encoded.body))) == 4000


def test_a_profile_for_other_inks_is_ignored() -> None:
    inks = picture(8, 8, 4)
    with_rgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    _, expected = upscaled(saved(inks, "TIFF", "CMYK"))
    _, encoded = upscaled(saved(inks, "TIFF", "CMYK", icc_profile=with_rgb))
    assert np.array_equal(pixels(encoded.body), pixels(expected.body))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("channel", "ink"), [(0, (178, 84, 72)), (1, (153, 216, 122)), (2, (235, 120, 240)), (3, (38, 128, 128))], ids=str
)
def test_inks_outside_srgb_are_clipped_to_its_gamut(channel: int, ink: tuple[int, ...], dtype: type) -> None:
    """The profile is linear in CIELAB from white to an ink; LittleCMS's shortcut made results up to 23 levels off."""
    share = np.linspace(0, 1, 256)[:, None]
    profile, full = cmyk_profile(1.25), np.iinfo(dtype).max
    assert bytes(ink) in profile
    inks: Array = np.zeros((1, 256, 4), dtype)
    inks[0, :, channel] = np.rint(share[:, 0] * full)
    lab = (share * ink + (1 - share) * (255, 128, 128)) * (100 / 255, 1, 1) - (0, 128, 128)
    shown = to_srgb(inks, profile)
    assert shown is not None
    assert np.abs(shown[0] / full - _srgb(lab)).max() < 1.2 / 255


def _srgb(lab: Array) -> Array:
    """CIELAB (n, 3) at D50 as sRGB, 0 to 1. (IEC 61966-2-1, Bradford.)"""
    above = (lab[:, :1] + 16) / 116 + lab[:, 1:2] * (0.002, 0, 0) + lab[:, 2:] * (0, 0, -0.005)
    xyz = np.where(above > 6 / 29, above**3, 3 * (6 / 29) ** 2 * (above - 4 / 29)) * (0.9642, 1, 0.8249)
    linear = xyz @ np.linalg.inv([[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]]).T
    linear = linear.clip(0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)
