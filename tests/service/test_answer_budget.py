"""Bytes of answers: a ceiling for all, half of it for one, and nobody is shut out for ever."""

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
    budget.hold("bob", 50)
    release()
    budget.hold("ann", 30)
    assert budget.held_bytes == 100


def test_all_together_may_have_all() -> None:
    budget = AnswerBudget(100)
    for name in ("ann", "bob"):
        budget.hold(name, 50)
    with pytest.raises(QueueFull):
        budget.hold("cat", 1)


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
