"""Memory of pictures in progress: counted while they are, refused where there is none."""

import pytest

from app.errors import QueueFull, TooManyPixels, TooManyRequests
from app.service.picture_budget import PictureBudget


def test_what_is_in_progress_is_counted_and_given_back() -> None:
    budget = PictureBudget(100)
    with budget.hold("ann", 60):
        assert budget.held_bytes == 60
        with budget.hold("bob", 40):
            assert budget.held_bytes == 100
    assert budget.held_bytes == 0
    with pytest.raises(ZeroDivisionError), budget.hold("ann", 60):
        _ = 1 / 0
    assert budget.held_bytes == 0


def test_what_does_not_fit_now_is_told_to_come_back() -> None:
    budget = PictureBudget(100)
    with budget.hold("ann", 60):
        with pytest.raises(QueueFull) as refused, budget.hold("bob", 41):
            raise AssertionError("admitted")
        assert refused.value.retry_after > 0
        assert budget.held_bytes == 60


def test_a_client_alone_leaves_a_part_to_newcomers() -> None:
    budget = PictureBudget(100)
    with budget.hold("ann", 60):
        with pytest.raises(QueueFull), budget.hold("ann", 20):
            raise AssertionError("admitted")
        with budget.hold("bob", 30), pytest.raises(TooManyRequests), budget.hold("ann", 5):
            raise AssertionError("admitted")


def test_a_first_picture_may_take_all() -> None:
    with PictureBudget(100).hold("ann", 100):
        pass


def test_what_never_fits_is_told_what_to_change() -> None:
    with pytest.raises(TooManyPixels, match="format=png"), PictureBudget(100).hold("ann", 101):
        raise AssertionError("admitted")
