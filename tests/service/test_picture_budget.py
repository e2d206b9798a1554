"""Memory of pictures in progress: counted while they are, refused where there is none."""

import pytest

from app.errors import QueueFull, TooManyPixels, TooManyRequests
from app.service.picture_budget import PictureBudget


def test_pictures_in_progress_are_counted_and_released() -> None:
    budget = PictureBudget(100)
    with budget.hold("ann", 60):
        assert budget.held_bytes == 60
        with budget.hold("bob", 40):
            assert budget.held_bytes == 100
    assert budget.held_bytes == 0
    with pytest.raises(ZeroDivisionError), budget.hold("ann", 60):
        _ = 1 / 0
    assert budget.held_bytes == 0


def test_a_picture_that_does_not_fit_now_is_refused_with_a_retry_time() -> None:
    budget = PictureBudget(100)
    with budget.hold("ann", 60):
        with pytest.raises(QueueFull) as refused, budget.hold("bob", 41):
            raise AssertionError("admitted")
        assert refused.value.retry_after > 0
        assert budget.held_bytes == 60


def test_a_single_client_leaves_a_part_for_new_clients() -> None:
    budget = PictureBudget(100)
    with budget.hold("ann", 60):
        with pytest.raises(QueueFull), budget.hold("ann", 20):
            raise AssertionError("admitted")
        with budget.hold("bob", 30), pytest.raises(TooManyRequests), budget.hold("ann", 5):
            raise AssertionError("admitted")


def test_a_first_picture_may_take_the_whole_budget() -> None:
    with PictureBudget(100).hold("ann", 100):
        pass


def test_a_picture_that_can_never_fit_is_refused_with_what_to_change() -> None:
    with pytest.raises(TooManyPixels, match="format=png"), PictureBudget(100).hold("ann", 101):
        raise AssertionError("admitted")
