"""CMYK becomes sRGB through the profile in the file, at the depth of the file."""

import io
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

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
def test_eight_bits_agree_with_pillow(form: str, settings: dict[str, Any], color: Any) -> None:
    rows, columns = np.indices((24, 24))
    inks = np.stack([rows * 10, columns * 10, 240 - rows * 9, columns * 4], axis=-1).astype(np.uint8)
    data = saved(inks, form, "CMYK", icc_profile=PROFILE, **settings)
    inks = np.asarray(opened(data))
    _, encoded = upscaled(data, color=color)
    assert_same(pixels(encoded.body), _by_pillow(inks), f"cmyk-{form}", data, tolerance=1)
    assert (b"sRGB", b"\1") in list(chunks(encoded.body))
    assert "icc_profile" not in opened(encoded.body).info


def test_sixteen_bits_stay_sixteen() -> None:
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
    assert (out % 257 != 0).mean() > 0.9  # between the levels of 8 bits


def test_a_fine_ramp_of_black_ink_has_more_levels_than_eight_bits_hold() -> None:
    inks = np.zeros((1, 4000, 4), np.uint16)
    inks[..., 3] = np.arange(4000) * 16
    file = io.BytesIO()
    tifffile.imwrite(file, inks, photometric="separated", metadata=None)
    _, encoded = upscaled(file.getvalue())
    assert len(np.unique(pixels(encoded.body))) == 4000


def test_a_profile_for_other_inks_is_let_go() -> None:
    inks = picture(8, 8, 4)
    with_rgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    _, expected = upscaled(saved(inks, "TIFF", "CMYK"))
    _, encoded = upscaled(saved(inks, "TIFF", "CMYK", icc_profile=with_rgb))
    assert np.array_equal(pixels(encoded.body), pixels(expected.body))
