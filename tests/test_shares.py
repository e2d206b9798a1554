"""The one rule of admission, against its definition, and what it promises to those who are there and those who come."""

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import QueueFull, TooManyRequests
from app.shares import Shares


def filled(alone: int, *clients: str, ceiling: int | None = None) -> Shares:
    """Shares of which these clients have taken all that they can, one after the other."""
    shares = Shares(alone, ceiling)
    for client in clients:
        shares.add(client, shares.room(client))
    return shares


@pytest.mark.parametrize("alone", [1, 2, 3, 10, 1000, 2**31])
def test_a_single_client_may_hold_everything(alone: int) -> None:
    shares = Shares(alone)
    assert shares.room("a") == alone
    shares.add("a", alone - 1)
    assert shares.room("a") == 1
    shares.add("a")
    assert shares.room("a") == 0


def test_a_new_client_finds_a_quarter_whatever_another_holds() -> None:
    shares = filled(1200, "a")
    assert shares.of("a") == 1200
    assert shares.room("b") == 300
    shares.add("a", 5000)
    assert shares.room("b") == 300, "also if that is one picture larger than the limit"
    assert shares.room("a") < 0


def test_with_several_clients_the_largest_user_is_refused_first() -> None:
    shares = filled(1200, "a")
    shares.add("b", 200)
    shares.remove("a", 150)
    assert shares.room("a") <= 0 < shares.room("b")


def test_a_client_that_has_given_everything_back_counts_no_more() -> None:
    shares = filled(1200, "a")
    shares.add("b", 200)
    assert isinstance(shares.refusal("a", "crowded", "own", 1.0), TooManyRequests)
    shares.remove("b", 200)
    assert isinstance(shares.refusal("a", "crowded", "own", 1.0), QueueFull), "a is alone"


@pytest.mark.parametrize("count", [2, 3, 10])
def test_clients_that_take_all_they_can_converge_to_equal_parts(count: int) -> None:
    """In any order of arrival: work ends, and its place goes to a client with room."""
    shares, names = filled(12_000_000, "0"), [str(number) for number in range(count)]
    for _ in range(400):
        for name in names:
            shares.remove(name, shares.of(name) // 10)
            shares.add(name, max(0, shares.room(name)))
    part = 16_000_000 / (count + 1 / 3)
    assert all(abs(shares.of(name) - part) < 0.01 * part for name in names)
    assert shares.total <= 16_000_000


def test_something_is_left_for_the_next_client_however_many_there_are() -> None:
    shares = filled(2**31, *(str(number) for number in range(10)))
    assert shares.room("late") > 500


def test_single_units_leave_one_for_a_new_client() -> None:
    shares = filled(2, "a", ceiling=3)
    assert shares.room("b") == 1
    shares.add("b")
    assert (shares.room("a"), shares.room("b"), shares.room("c")) == (-1, -1, 0)
    shares.remove("a")
    assert (shares.room("a"), shares.room("b"), shares.room("c")) == (0, 0, 1)


@given(
    alone=st.integers(1, 60),
    reserve=st.integers(0, 60),
    steps=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(-30, 40))),
)
def test_room_follows_its_definition(alone: int, reserve: int, steps: list[tuple[str, int]]) -> None:
    """What a client then holds is at most alone / reserve times what is then free."""
    shares, held = Shares(alone, alone + reserve), Counter[str]()
    for client, change in steps:
        held[client] = max(0, held[client] + change)
        shares.add(client, held[client] - shares.of(client))
        free = alone + reserve - sum(min(amount, alone) for amount in held.values())
        for each in "abcd":
            # own + x <= alone / reserve (free - x), multiplied by the reserve, which may be nothing
            room = Fraction(alone * free - reserve * held[each], alone + reserve).__floor__()
            assert shares.room(each) == (room if held[each] else max(room, min(1, free)))
        assert shares.total == held.total()


@pytest.mark.parametrize(
    ("held", "kind"),
    [
        ({"a": 10}, QueueFull),  # alone: it knows that it fills the service
        ({"b": 10}, QueueFull),
        ({"a": 9, "b": 1}, TooManyRequests),
        ({"a": 5, "b": 5}, TooManyRequests),
        ({"a": 4, "b": 6}, QueueFull),
        ({"a": 3, "b": 1, "c": 6}, QueueFull),
    ],
)
def test_a_client_at_its_share_is_told_so_and_others_that_the_service_is_full(
    held: dict[str, int], kind: type[QueueFull | TooManyRequests]
) -> None:
    shares = Shares(10)
    for client, amount in held.items():
        shares.add(client, amount)
    error = shares.refusal("a", "full", "yours", 7.0)
    assert type(error) is kind
    assert (str(error), error.retry_after) == ("full" if kind is QueueFull else "yours", 7.0)
