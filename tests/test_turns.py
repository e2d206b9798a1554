"""Whose turn it is, and who has a seat."""

import pytest

from app.turns import RoundRobin, Seats


def test_new_clients_leave_every_second_turn_to_the_others() -> None:
    turns: RoundRobin[str] = RoundRobin()
    for name in ("old1", "old2", "old3"):
        turns.add(name)
        turns.served(name)
    turns.add("new1")
    turns.add("new2")
    assert turns.order() == ["old1", "new1", "old2", "new2", "old3"]
    turns.served("old1")
    turns.served("new1")
    turns.add("new3")
    assert turns.order() == ["old2", "new2", "old3", "new3", "old1", "new1"]


def seated(seats: Seats[str]) -> list[str]:
    """What is given a seat now."""
    found = []
    while (taken := seats.take()) is not None:
        found.append(taken[1])
    return found


def waiting(count: int, *items: str) -> Seats[str]:
    """Items such as a1, of client a."""
    seats: Seats[str] = Seats(count)
    for item in items:
        seats.wait(item[0], item)
    return seats


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_last_seat_is_kept_for_a_client_that_has_none(count: int) -> None:
    seats = waiting(count, *(f"a{number}" for number in range(9)))
    assert seated(seats) == [f"a{number}" for number in range(count)]
    for item in ("b1", "b2", "c1"):
        seats.wait(item[0], item)
    assert seated(seats) == ["b1"]


def test_the_client_with_the_fewest_seats_is_next_and_equals_take_turns() -> None:
    seats = waiting(2, "a1", "a2", "a3", "a4")
    assert seated(seats) == ["a1", "a2"]
    for item in ("b1", "b2", "c1"):
        seats.wait(item[0], item)
    assert seated(seats) == ["b1"]
    order = []
    for gone in "baabca":
        seats.leave(gone)
        order.append(" ".join(seated(seats)))
    assert order == ["c1", "b2", "a3", "", "a4", ""]


def test_the_client_with_the_fewest_seats_comes_before_those_whose_turn_is_earlier() -> None:
    seats = waiting(4, "a1", "a2", "b1")
    assert seated(seats) == ["a1", "b1", "a2"]
    for item in ("a3", "b2"):
        seats.wait(item[0], item)
    assert seats.take() == ("b", "b2")
    for gone in "abb":
        seats.leave(gone)
    for item in ("b3", "c1"):
        seats.wait(item[0], item)
    assert seats.take() == ("b", "b3"), "neither b nor c has any, and b was first"


def test_of_clients_that_all_have_seats_the_one_with_fewest_is_next_and_equals_come_in_turn() -> None:
    seats = waiting(6, "a1", "b1", "b2")
    assert seated(seats) == ["a1", "b1", "b2"]
    for item in ("a2", "b3"):
        seats.wait(item[0], item)
    assert seats.take() == ("a", "a2")
    seats.wait("a", "a3")
    assert seats.take() == ("b", "b3")


def test_a_free_seat_goes_to_a_waiting_client() -> None:
    seats = waiting(3, "a1", "b1", "c1", "d1", "d2")
    assert seated(seats) == ["a1", "b1", "c1", "d1"]
    for gone in "ab":
        seats.leave(gone)
    assert seated(seats) == ["d2"]


def test_waiting_items_can_be_cleared() -> None:
    seats = waiting(1, "a1", "a2", "b1", "b2")
    assert seated(seats) == ["a1", "b1"]
    assert seats.clear() == ["a2", "b2"]
    seats.leave("a")
    assert seats.take() is None


class _Counting:
    """A member that counts how often one is compared with another."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        _Counting.compared += 1
        return self is other

    __hash__ = object.__hash__


def test_a_thousand_new_clients_are_added_without_comparing_each_with_all() -> None:
    turns: RoundRobin[_Counting] = RoundRobin()
    crowd = [_Counting() for _ in range(1000)]
    for member in crowd:
        turns.add(member)
    assert turns.order() == crowd
    assert _Counting.compared <= len(crowd) ** 2
