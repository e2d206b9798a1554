"""Damage: its steps occur with their probabilities, within their ranges, and as far as the strength says."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from model.degradations import KERNELS, blurred, shrink, through_jpeg
from model.resample import degrade
from model.training.damage import Damage, quality_for
from tests.model.networks import texture

FINEST = texture(96, 128)
BICUBIC = degrade(FINEST, 4)
ALL = Damage(
    kernels=KERNELS,
    blur=1.0,
    blur_chance=0.5,
    noise=10.0,
    noise_chance=0.5,
    quality=(30, 98),
    jpeg_chance=0.7,
    jpeg_twice=0.5,
    jpeg_before=0.3,
)


def draws(damage: Damage, count: int = 60, strength: float | None = None) -> list[Any]:
    rng = np.random.default_rng(0)
    return [damage.apply(FINEST, 4, rng, strength) for _ in range(count)]


def error(picture: Any) -> float:
    return float(((picture.astype(float) - BICUBIC) ** 2).mean())


def test_no_damage_is_the_degradation_of_the_benchmarks() -> None:
    assert Damage().nothing
    np.testing.assert_array_equal(draws(Damage(), 1)[0], BICUBIC)


def test_damage_depends_on_the_generator_only() -> None:
    first, again = draws(ALL), draws(ALL)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert len({each.tobytes() for each in first}) > 50
    assert {each.shape for each in first} == {BICUBIC.shape}


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_named_more_often_are_more_probable(kernel: str) -> None:
    others = [each for each in KERNELS if each != kernel]
    found = draws(Damage(kernels=(kernel, kernel, kernel, others[0])), 200)
    wanted = shrink(FINEST, 24, 32, kernel)
    assert 120 < sum(np.array_equal(each, wanted) for each in found) < 180


@pytest.mark.parametrize(
    ("damage", "chance"),
    [
        (Damage(blur=1.0, blur_chance=0.3), 0.3),
        (Damage(noise=20.0, noise_chance=0.3), 0.3),
        (Damage(quality=(10, 20), jpeg_chance=0.3), 0.3),
        (Damage(quality=(10, 20), jpeg_chance=0.0, jpeg_before=0.3), 0.3),
        (Damage(quality=(10, 20)), 1.0),
    ],
    ids=["blur", "noise", "JPEG", "JPEG before shrinking", "always"],
)
def test_steps_occur_with_their_probability(damage: Damage, chance: float) -> None:
    """A blur or a noise that is next to nothing is rounded away."""
    share = np.mean([error(each) > 0 for each in draws(damage, 200)])
    assert chance - 0.12 < share <= min(chance + 0.12, 1)


def test_qualities_are_within_the_range() -> None:
    possible = {through_jpeg(BICUBIC, quality).tobytes() for quality in range(40, 51)}
    found = {each.tobytes() for each in draws(Damage(quality=(40, 50)))}
    assert found <= possible
    assert len(found) > 5


def test_compressing_twice_is_worse_than_once() -> None:
    once, twice = (np.mean([error(each) for each in draws(Damage(quality=(50, 50), jpeg_twice=p))]) for p in (0, 1))
    assert once < twice


@pytest.mark.parametrize("field", ["blur", "noise", "quality"])
def test_higher_strengths_have_more_damage(field: str) -> None:
    """Each step alone, from hardly any to as much as without a strength."""
    whole = replace(
        ALL, kernels=("bicubic",), blur_chance=1, noise_chance=1, jpeg_chance=1, jpeg_twice=0, jpeg_before=0
    )
    others: dict[str, dict[str, Any]] = {
        "blur": {"blur_chance": 0},
        "noise": {"noise_chance": 0},
        "quality": {"quality": None},
    }
    alone = whole
    for name, change in others.items():
        alone = alone if name == field else replace(alone, **change)
    means = [np.mean([error(each) for each in draws(alone, 60, strength)]) for strength in (0.25, 0.5, 0.75, 1.0)]
    assert means == sorted(means)
    assert means[0] < 0.5 * means[-1]


def test_the_qualities_of_a_strength_surround_its_own_quality() -> None:
    assert [quality_for(strength) for strength in (0.25, 0.5, 0.75, 1.0)] == [95, 90, 80, 60]
    for strength, most, least in ((0.25, 98, 92), (0.5, 94, 84), (0.75, 88, 68), (1.0, 77, 30)):
        possible = {through_jpeg(BICUBIC, quality).tobytes() for quality in range(least, most + 1)}
        assert {each.tobytes() for each in draws(Damage(quality=(30, 98)), 100, strength)} <= possible


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kernels": ("cubic",)}, "unknown kernels cubic; use bicubic, box, "),
        ({"kernels": ()}, "name at least one kernel"),
        ({"noise_chance": 1.5}, "noise_chance is 1.5; it is a probability, 0 to 1"),
        ({"blur": -1.0}, "blur is -1.0; it cannot be negative"),
    ],
)
def test_impossible_damage_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Damage(**wrong)


def test_blur_is_measured_in_low_resolution_pixels() -> None:
    errors = [error(each) for each in draws(Damage(blur=1.0, blur_chance=1.0), 100)]
    assert max(errors) <= error(blurred(BICUBIC, 1.0))
    assert max(errors) > 0.5 * error(blurred(BICUBIC, 1.0))
