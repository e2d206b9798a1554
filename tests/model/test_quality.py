"""PSNR and GMSD by hand, SSIM against scikit-image."""

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from model.quality import gmsd, psnr, shaved, ssim

RNG = np.random.default_rng(0)
TRUTH = np.clip(np.add.outer(np.arange(40) * 4, np.arange(52) * 2) % 256 + RNG.normal(0, 4, (40, 52)), 0, 255)


@pytest.mark.parametrize(
    ("difference", "decibels"), [(1, 48.13080361), (5, 34.15140352), (-5, 34.15140352), (255, 0.0), (25.5, 20.0)]
)
def test_psnr_of_a_constant_difference(difference: float, decibels: float) -> None:
    assert psnr(TRUTH + difference, TRUTH, 4) == pytest.approx(decibels, abs=1e-7)


def test_psnr_by_hand() -> None:
    """Differences 3, 4, 0, 0 inside the border: mean square 6.25."""
    truth = np.full((4, 4), 100, np.uint8)
    picture = truth.copy()
    picture[1, 1], picture[1, 2] = 103, 96
    picture[0], picture[:, 3] = 0, 255  # the border does not count
    assert psnr(picture, truth, 1) == pytest.approx(10 * np.log10(255**2 / 6.25), abs=1e-12)


def test_psnr_of_equal_pictures_is_infinite() -> None:
    assert psnr(TRUTH, TRUTH, 2) == float("inf")


def test_shaved_removes_every_side() -> None:
    picture = np.arange(30.0).reshape(5, 6)
    assert shaved(picture, 0).tolist() == picture.tolist()
    assert shaved(picture, 2).tolist() == [[14, 15]]
    with pytest.raises(ValueError, match=r"nothing is left of \(5, 6\) after shaving 3"):
        shaved(picture, 3)


@pytest.mark.parametrize("shave", [0, 2, 4])
@pytest.mark.parametrize(
    "picture",
    [TRUTH + RNG.normal(0, 12, TRUTH.shape), np.roll(TRUTH, 1, axis=0), np.full_like(TRUTH, 128), 255 - TRUTH],
    ids=["noise", "shifted", "flat", "negative"],
)
def test_ssim_equals_scikit_image(picture: NDArray[np.float64], shave: int) -> None:
    """Which pads; its padding reaches 5 pixels in, and that ring is left out, as the paper's own code does."""
    inner = slice(shave, -shave or None)
    _, full = structural_similarity(  # type: ignore[no-untyped-call]
        picture[inner, inner],
        TRUTH[inner, inner],
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        full=True,
    )
    assert ssim(picture, TRUTH, shave) == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-6)


def test_ssim_of_equal_pictures_is_one() -> None:
    assert ssim(TRUTH, TRUTH, 4) == pytest.approx(1, abs=1e-12)


def test_ssim_needs_pictures_of_at_least_one_window() -> None:
    with pytest.raises(ValueError, match="SSIM needs at least 11x11 pixels after shaving, not 10x14"):
        ssim(TRUTH[:18, :22], TRUTH[:18, :22], 4)


def test_gmsd_by_hand() -> None:
    """A step of 6 between the second and third pair of columns, lost in the picture.

    Halved: 4 columns 0 0 6 6 in 3 rows; one row of two gradients, 6 and 6 in the truth, 0 and 0 in the picture, so both
    similarities are 170 / 206. With a second step in one of two rows of gradients, they differ.
    """
    truth = np.zeros((6, 8))
    truth[:, 4:] = 6
    assert gmsd(np.zeros((6, 8)), truth, 0) == pytest.approx(0, abs=1e-12), "the same loss everywhere does not deviate"
    half = truth.copy()
    half[:, 6:] = 0  # halved: 0 0 6 0, gradients 6 and 0
    assert gmsd(half, truth, 0) == pytest.approx((1 - 170 / 206) / 2, abs=1e-12)


def test_gmsd_is_zero_for_equal_pictures_and_rises_with_noise() -> None:
    worse = [gmsd(TRUTH + noise * RNG.normal(0, 1, TRUTH.shape), TRUTH, 2) for noise in (0, 5, 20)]
    assert worse[0] == 0
    assert worse[0] < worse[1] < worse[2]


def test_gmsd_needs_pictures_of_at_least_6x6_pixels() -> None:
    with pytest.raises(ValueError, match="GMSD needs at least 6x6 pixels after shaving, not 5x40"):
        gmsd(TRUTH[:5, :40], TRUTH[:5, :40], 0)
