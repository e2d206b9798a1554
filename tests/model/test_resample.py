"""The bicubic: exact values by hand, exact rational arithmetic, and MATLAB's own pictures where they are at hand."""

from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from model.resample import contributions, cubic, degrade, downsample_kernel, resize, round_to_uint8, upsample_kernel

LINE = np.array([[-0.0234375, 0.2265625, 0.8671875, -0.0703125]])  # cubic at 1.75, 0.75, 0.25, 1.25


@pytest.mark.parametrize(
    ("x", "value"),
    [(0, 1), (0.25, 0.8671875), (0.5, 0.5625), (0.75, 0.2265625), (1, 0), (1.25, -0.0703125), (1.5, -0.0625), (2, 0)],
)
def test_cubic_is_the_keys_kernel_with_a_of_minus_a_half(x: float, value: float) -> None:
    assert cubic(np.array([x, -x])).tolist() == [value, value]
    assert cubic(np.array([2.5, 100.0])).tolist() == [0, 0]


def test_upsample_kernel_by_two_has_known_values() -> None:
    phases, offset = upsample_kernel(2)
    assert offset == -2
    expected = np.zeros((2, 5))
    expected[0, :4] = LINE
    expected[1, 1:] = LINE[:, ::-1]
    np.testing.assert_allclose(phases, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_upsample_kernel_equals_resize_and_sums_to_one(scale: int) -> None:
    phases, offset = upsample_kernel(scale)
    np.testing.assert_allclose(phases.sum(axis=1), 1, rtol=0, atol=1e-15)
    np.testing.assert_allclose(phases, phases[::-1, ::-1], rtol=0, atol=1e-15)
    line = np.random.default_rng(scale).random(9)
    i = np.arange(9 * scale) // scale
    taken = line[np.clip(i[:, None] + offset + np.arange(phases.shape[1]), 0, 8)]
    ours = (phases[np.arange(9 * scale) % scale] * taken).sum(axis=1)
    np.testing.assert_allclose(ours, resize(line[None], 1, 9 * scale)[0], rtol=0, atol=1e-14)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_downsample_kernel_equals_resize_and_sums_to_one(scale: int) -> None:
    weights, offset = downsample_kernel(scale)
    assert weights.sum() == pytest.approx(1, abs=1e-15)
    np.testing.assert_allclose(weights, weights[::-1], rtol=0, atol=1e-15)
    line = np.random.default_rng(scale).random(9 * scale)
    taken = line[(np.arange(9)[:, None] * scale + offset + np.arange(len(weights))).clip(0, 9 * scale - 1)]
    np.testing.assert_allclose(taken @ weights, resize(line[None], 1, 9)[0], rtol=0, atol=1e-14)


@pytest.mark.parametrize(("source", "target"), [(12, 3), (12, 6), (12, 48), (13, 5), (7, 29), (5, 5)])
def test_contributions_sum_to_one(source: int, target: int) -> None:
    _, weights = contributions(source, target)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=0, atol=1e-15)


def test_halving_an_impulse_by_hand() -> None:
    """255 in the middle of black. Weights 1.5 and 0.5 pixels off: 29/256 and 111/256; beyond, negative, so clipped."""
    picture = np.zeros((8, 8), np.uint8)
    picture[4, 3] = 255
    assert degrade(picture, 2).tolist() == [[0, 0, 0, 0], [0, 13, 3, 0], [0, 48, 13, 0], [0, 0, 0, 0]]


def test_each_pass_is_rounded_by_hand() -> None:
    """A row of 100 with one 105, halved. Down the columns 100 gives 11 and 43, 105 gives 12 and 46.

    Then along the rows 11 + 0.43 is 11; rounded only once, 11.33 + 0.25 would be 12.
    """
    picture = np.zeros((8, 8), np.uint8)
    picture[4] = 100
    picture[4, 3] = 105
    assert degrade(picture, 2).tolist() == [[0] * 4, [11] * 4, [43, 44, 43, 43], [0] * 4]
    assert round_to_uint8(resize(picture.astype(np.float64), 4, 4))[1].tolist() == [11, 12, 11, 11]


def exact_cubic(x: Fraction) -> Fraction:
    x = abs(x)
    if x <= 1:
        return Fraction(3, 2) * x**3 - Fraction(5, 2) * x**2 + 1
    return Fraction(-1, 2) * x**3 + Fraction(5, 2) * x**2 - 4 * x + 2 if x <= 2 else Fraction(0)


def exact_shrink(line: list[int], factor: int) -> list[int]:
    """One pass of MATLAB's imresize on uint8, in rational arithmetic, straight from the definition."""
    out = []
    for j in range(len(line) // factor):
        centre = (j + Fraction(1, 2)) * factor - Fraction(1, 2)
        reach = range(floor(centre) - 2 * factor - 1, floor(centre) + 2 * factor + 3)
        weights = {i: exact_cubic((centre - i) / factor) for i in reach}
        total = sum(w * line[min(max(i, 0), len(line) - 1)] for i, w in weights.items()) / sum(weights.values())
        out.append(min(max(floor(total + Fraction(1, 2)), 0), 255))
    return out


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("values", [(0, 256), (0, 2)], ids=["noise", "black and white"])
def test_degrade_equals_its_definition_in_rational_arithmetic(factor: int, values: tuple[int, int]) -> None:
    peak = 255 // (values[1] - 1)
    picture = np.random.default_rng(factor).integers(*values, (16, 24)).astype(np.uint8) * peak
    columns = [exact_shrink([int(v) for v in column], factor) for column in picture.T]
    rows = [exact_shrink([column[y] for column in columns], factor) for y in range(16 // factor)]
    assert degrade(picture, factor).tolist() == rows


def test_degrade_treats_channels_separately() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    small = degrade(picture, 4)
    assert small.shape == (2, 3, 3)
    for channel in range(3):
        np.testing.assert_array_equal(small[..., channel], degrade(picture[..., channel], 4))


def test_degrade_refuses_sides_that_do_not_divide() -> None:
    with pytest.raises(ValueError, match="sides 8x10 are not multiples of 4; crop the picture first"):
        degrade(np.zeros((8, 10), np.uint8), 4)


def test_the_border_is_replicated() -> None:
    """The first output pixel of a ramp enlarged: with i < 0 taken as i = 0, by hand from the known taps."""
    ramp = np.arange(6.0)[None]
    first = resize(ramp, 1, 12)[0, 0]
    assert first == pytest.approx((LINE[0] * [0, 0, 0, 1]).sum(), abs=1e-15)


def test_resize_keeps_flat_pictures_and_ramps() -> None:
    assert np.ptp(resize(np.full((5, 6), 0.3), 17, 9)) < 1e-15
    ramp = np.arange(20.0)[:, None] * np.ones(4)
    inner = resize(ramp, 40, 4)[8:-8]
    np.testing.assert_allclose(inner[:, 0], (np.arange(40)[8:-8] + 0.5) / 2 - 0.5, rtol=0, atol=1e-13)


def test_round_half_up_and_clip() -> None:
    values = np.array([-3.0, -0.5, 0.49, 0.5, 1.5, 2.5, 254.5, 255.5, 300])
    assert round_to_uint8(values).tolist() == [0, 0, 0, 1, 2, 3, 255, 255, 255]


def read(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize(("name", "count"), [("Set5", 5), ("Set14", 14)])
def test_degrade_equals_matlab_exactly(bench_dir: Path, name: str, count: int, factor: int) -> None:
    paths = sorted((bench_dir / name / "HR").glob("*.png"))
    assert len(paths) == count
    for path in paths:
        np.testing.assert_array_equal(
            degrade(read(path), factor), read(bench_dir / name / f"LRx{factor}" / path.name), err_msg=path.name
        )
