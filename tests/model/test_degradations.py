"""Degradations: each does what its name says, by measures of its own, on gray and RGB alike."""

import numpy as np
import pytest
from numpy.typing import NDArray

from model.degradations import KERNELS, blurred, cut_before_jpeg, noisy, shrink, through_jpeg
from model.resample import degrade
from tests.model.networks import texture

GRAY = texture(64, 96)
RGB = np.stack([texture(64, 96, seed) for seed in (1, 2, 3)], axis=-1)


@pytest.mark.parametrize("picture", [GRAY, RGB], ids=["gray", "RGB"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_shrinking_keeps_flat_pictures_and_treats_channels_alike(kernel: str, picture: NDArray[np.uint8]) -> None:
    small = shrink(picture, 16, 24, kernel)
    assert small.shape == (16, 24, *picture.shape[2:]) and small.dtype == np.uint8
    for level in (0, 1, 100, 255):
        assert np.all(shrink(np.full_like(picture, level), 16, 24, kernel) == level)
    if picture.ndim == 3:
        for channel in range(3):
            np.testing.assert_array_equal(small[..., channel], shrink(picture[..., channel], 16, 24, kernel))


def test_bicubic_is_the_degradation_of_the_benchmarks() -> None:
    np.testing.assert_array_equal(shrink(RGB, 16, 24), degrade(RGB, 4))
    assert shrink(GRAY, 23, 31).shape == (23, 31)


def test_box_is_the_mean_of_areas() -> None:
    means = GRAY.reshape(16, 4, 24, 4).mean(axis=(1, 3))
    assert np.abs(shrink(GRAY, 16, 24, "box") - means).max() <= 1


def test_linear_light_weighs_bright_pixels_more() -> None:
    """Black and white in equal parts have half the light of white: code 188 in sRGB."""
    checkerboard = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    assert abs(int(shrink(checkerboard, 16, 16, "linear-light")[8, 8]) - 188) <= 1
    assert abs(int(shrink(checkerboard, 16, 16, "bicubic")[8, 8]) - 128) <= 1


def test_aliased_looks_at_the_nearest_pixels_alone() -> None:
    """By four, these are the middle four of every sixteen; by three, the middle one of nine; by two, all of them."""
    middle = (GRAY.astype(float)[1::4] + GRAY[2::4])[:, 1::4] + (GRAY.astype(float)[1::4] + GRAY[2::4])[:, 2::4]
    assert np.abs(shrink(GRAY, 16, 24, "aliased") - middle / 4).max() <= 0.5
    np.testing.assert_array_equal(shrink(RGB[:63], 21, 32, "aliased"), RGB[1:63:3, 1::3])
    assert np.abs(shrink(RGB, 32, 48, "aliased") - shrink(RGB, 32, 48, "box").astype(int)).max() <= 1
    assert shrink(RGB, 27, 41, "aliased").shape == (27, 41, 3)


def test_kernels_differ() -> None:
    assert len({shrink(GRAY, 16, 24, kernel).tobytes() for kernel in KERNELS}) == len(KERNELS)


def test_blur_spreads_by_its_sigma() -> None:
    dot = np.zeros((41, 41), np.uint8)
    dot[20, 20] = 255
    spread = blurred(dot, 1.5).astype(float).sum(axis=0)
    variance = (spread * (np.arange(41) - 20) ** 2).sum() / spread.sum()
    assert variance**0.5 == pytest.approx(1.5, rel=0.1)


def test_noise_has_its_sigma_and_depends_on_the_generator_alone() -> None:
    flat = np.full((200, 200), 128, np.uint8)
    found = noisy(flat, 8.0, np.random.default_rng(1)).astype(float)
    assert found.std() == pytest.approx(8.0, rel=0.03)
    assert found.mean() == pytest.approx(128, abs=0.3)
    np.testing.assert_array_equal(found, noisy(flat, 8.0, np.random.default_rng(1)))


def test_shot_noise_grows_with_brightness() -> None:
    """Its variance is proportional to it; without it, noise is the same everywhere."""
    deviations = {
        (level, shot): noisy(np.full((200, 200), level, np.uint8), 5.0, np.random.default_rng(0), shot).std()
        for level in (32, 128)
        for shot in (0.0, 1.0)
    }
    assert deviations[32, 0.0] == pytest.approx(deviations[128, 0.0], rel=0.03)
    assert deviations[32, 1.0] * 2 == pytest.approx(deviations[128, 1.0], rel=0.05)


def test_cutting_moves_the_grid_of_blocks() -> None:
    """The steps that JPEG leaves between blocks are `top` and `left` pixels nearer to the first."""
    ramp = np.tile(np.linspace(0, 255, 96).astype(np.uint8), (64, 1))
    for left in (0, 3):
        steps = np.abs(np.diff(cut_before_jpeg(ramp, 5, 0, left).astype(float), axis=1)).mean(axis=0)
        phases = [steps[phase::8].mean() for phase in range(8)]
        assert int(np.argmax(phases)) == (7 - left) % 8
    np.testing.assert_array_equal(cut_before_jpeg(RGB, 60, 0, 0), through_jpeg(RGB, 60))
    assert cut_before_jpeg(RGB, 60, 2, 5).shape == RGB.shape
