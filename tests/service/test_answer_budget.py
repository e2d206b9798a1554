"""Bytes of answers: a ceiling for all, half of it for one alone, and nobody is shut out for ever."""

import pytest

from app.errors import QueueFull, TooManyRequests
from app.service.answer_budget import AnswerBudget


def test_one_client_may_have_half() -> None:
    budget = AnswerBudget(100)
    release = budget.hold("ann", 30)
    budget.hold("ann", 20)
    with pytest.raises(TooManyRequests) as refused:
        budget.hold("ann", 1)
    assert refused.value.retry_after == 2.0
    release()
    budget.hold("ann", 30)
    assert budget.held_bytes == 50


def test_whoever_comes_finds_room_however_many_leave_theirs_unread() -> None:
    """Two that read a byte now and then kept everybody else out, for as long as they liked."""
    budget = AnswerBudget(100)
    for name, held in (("ann", 50), ("bob", 75), ("cat", 87)):
        with pytest.raises(TooManyRequests):
            while True:
                budget.hold(name, 1)
        assert budget.held_bytes == held
    budget.hold("dan", 13)


def test_all_together_may_have_all() -> None:
    budget = AnswerBudget(100)
    for name, first in (("ann", 50), ("bob", 45)):
        budget.hold(name, first)
    for asked in (6, 100):
        with pytest.raises(QueueFull):
            budget.hold("cat", asked)
    budget.hold("cat", 5)
    with pytest.raises(QueueFull):
        budget.hold("dan", 1)


def test_what_is_larger_than_the_budget_is_let_through_alone() -> None:
    budget = AnswerBudget(100)
    release = budget.hold("ann", 500)
    for name, error in (("ann", TooManyRequests), ("bob", QueueFull)):
        with pytest.raises(error):
            budget.hold(name, 1)
        with pytest.raises(error):
            budget.hold(name, 0)
    release()
    assert budget.held_bytes == 0
    budget.hold("bob", 500)


def test_asking_for_room_takes_none() -> None:
    budget = AnswerBudget(100)
    release = budget.hold("ann", 0)
    assert budget.held_bytes == 0
    budget.hold("ann", 50)
    release()
    assert budget.held_bytes == 50
