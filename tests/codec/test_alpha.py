"""Transparency is kept if the source has it and never added; invisible colours leave no fringe."""

import struct
from typing import Any

import numpy as np
import pytest

from app.codec.alpha_bleeding import bled
from app.codec.reader import read
from app.codec.split import split
from app.codec.types import DecodeLimits
from tests.codec.support import FORMULAS, Array, bicubic, nearest, picture, pixels, saved, upscaled, wanted


def _disc() -> Array:
    """A red disc with a soft edge on transparent green."""
    rows, columns = np.mgrid[0:32, 0:32]
    distance = np.hypot(rows - 15.5, columns - 15.5)
    alpha = np.clip(12 - distance, 0, 1)
    samples = np.empty((32, 32, 4), np.uint8)
    samples[...] = (0, 255, 0, 0)
    samples[alpha > 0, :3] = (255, 0, 0)
    samples[..., 3] = np.rint(alpha * 255)
    return samples


@pytest.mark.parametrize("scale", [2, 4])
def test_a_red_disc_on_transparent_green_has_no_fringe(scale: int) -> None:
    _, encoded = upscaled(saved(_disc(), "PNG"), scale, upscaler=bicubic)
    out = pixels(encoded.body)
    assert out.shape == (32 * scale, 32 * scale, 4)
    assert (out[..., :3] == (255, 0, 0)).all()
    assert out[..., 3].min() == 0
    assert out[..., 3].max() == 255


def test_an_opaque_alpha_stays_opaque_and_needs_no_network() -> None:
    samples = picture(7, 5, 4)
    samples[..., 3] = 255
    decoded, encoded = upscaled(saved(samples, "PNG"), 4)
    assert decoded.frames[0].opaque
    assert len(decoded.frames[0].planes) == 1
    out = pixels(encoded.body)
    assert out.shape == (28, 20, 4)
    assert (out[..., 3] == 255).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_no_alpha_is_added_to_pictures_without_it(channels: int) -> None:
    decoded, encoded = upscaled(saved(picture(7, 5, channels), "PNG"), 4)
    assert decoded.frames[0].alpha is None
    assert pixels(encoded.body).shape[2] == channels


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_is_a_plane_of_its_own_for_the_network(channels: int) -> None:
    samples = picture(7, 5, channels)
    decoded, encoded = upscaled(saved(samples, "PNG"), 4)
    assert np.array_equal(decoded.frames[0].planes[1], samples[..., -1] / np.float32(255))
    assert np.array_equal(pixels(encoded.body)[..., -1], nearest(samples[..., -1], 4))


def test_visible_pixels_keep_their_color_bit_for_bit() -> None:
    samples = picture(33, 17, 4)
    samples[8:20, 3:12, 3] = 0
    visible = samples[..., 3] > 0
    opaque = samples.copy()
    opaque[..., 3] = 255
    bleeding, whole = split(samples, FORMULAS), split(opaque, FORMULAS)
    assert np.array_equal(bleeding.luma[visible], whole.luma[visible])


def test_invisible_pixels_get_a_mean_of_their_visible_neighbours() -> None:
    plane = np.array([[0.2, 9.0, 0.4], [0.2, 9.0, 0.4], [9.0, 9.0, 9.0]], np.float32)
    visible = np.array([[1, 0, 1], [1, 0, 1], [0, 0, 0]], bool)
    (filled,) = bled([plane], visible)
    assert np.array_equal(filled[visible], plane[visible])
    own, next_one = (3 * 0.2 + 0.4) / 4, 0.4  # means of the 2 x 2 blocks that it is in and beside
    assert filled[0, 1] == pytest.approx((3 * own + next_one) / 4)
    assert filled.min() >= np.float32(0.2)
    assert filled.max() <= np.float32(0.4)


@pytest.mark.parametrize("cut", [61, 62, 63, 64, 65, 66])
def test_the_colour_beside_an_edge_is_the_edges_own_wherever_the_edge_is(cut: int) -> None:
    """Also where all blocks of the pyramid end at it, as they do beside every sprite of a sheet."""
    plane = np.linspace(0, 1, 128, dtype=np.float32)[:, None].repeat(128, axis=1)
    visible = np.zeros((128, 128), bool)
    visible[:, cut:] = True
    for turns in range(4):
        (filled,) = bled([np.rot90(plane, turns).copy()], np.rot90(visible, turns).copy())
        beside = np.rot90(filled, -turns)[:, cut - 1]
        np.testing.assert_allclose(beside, plane[:, cut], atol=1.5 / 127)


def test_a_fully_transparent_picture_is_left_unchanged() -> None:
    samples = picture(5, 5, 4)
    samples[..., 3] = 0
    decoded, encoded = upscaled(saved(samples, "PNG"))
    assert decoded.frames[0].alpha is not None
    assert np.array_equal(pixels(encoded.body), samples)


@pytest.mark.parametrize("truncated", ["reject", "allow"])
@pytest.mark.parametrize("flag", [0, 0x10])
@pytest.mark.parametrize("lossless", [True, False])
def test_webp_alpha_must_be_declared_in_the_header_or_by_a_lossless_picture(
    lossless: bool, flag: int, truncated: Any
) -> None:
    """In the VP8X header or, as in browsers, in a lossless picture; exiftool adds a header without the flag.

    An ALPH chunk next to a lossy picture does not count by itself.
    """
    plain = saved(picture(20, 30, 4), "WEBP", lossless=lossless, exact=True)
    chunks = plain[12:] if lossless else plain[30:]
    assert chunks[:4] == (b"VP8L" if lossless else b"ALPH")
    features = b"VP8X" + struct.pack("<II", 10, flag) + (29).to_bytes(3, "little") + (19).to_bytes(3, "little")
    body = b"WEBP" + features + chunks
    data = b"RIFF" + len(body).to_bytes(4, "little") + body
    decoded = read(data, wanted(2, truncated=truncated), DecodeLimits()).frames[0]
    expected = pixels(plain)
    np.testing.assert_array_equal(decoded, expected if flag or lossless else expected[..., :3])
