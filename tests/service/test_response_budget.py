"""Bytes of responses: a limit for all, half of it for a single client, and nobody is shut out forever."""

from collections.abc import Callable

import pytest

from app.errors import QueueFull, TooManyRequests
from app.service.response_budget import Reader, ResponseBudget


def test_one_client_may_hold_half_of_the_budget() -> None:
    budget = ResponseBudget(100, 60.0)
    release = budget.hold("ann", 30)
    budget.hold("ann", 20)
    with pytest.raises(TooManyRequests) as refused:
        budget.hold("ann", 1)
    assert refused.value.retry_after == 2.0
    release()
    budget.hold("ann", 30)
    assert budget.held_bytes == 50


def test_a_new_client_finds_room_however_many_leave_their_answers_unread() -> None:
    """Two clients that read a byte now and then must not keep everybody else out."""
    budget = ResponseBudget(100, 60.0)
    for name, held in (("ann", 50), ("bob", 75), ("cat", 87)):
        with pytest.raises(TooManyRequests):
            while True:
                budget.hold(name, 1)
        assert budget.held_bytes == held
    budget.hold("dan", 13)


def test_all_clients_together_may_hold_the_whole_budget() -> None:
    budget = ResponseBudget(100, 60.0)
    for name, first in (("ann", 50), ("bob", 45)):
        budget.hold(name, first)
    for asked in (6, 100):
        with pytest.raises(QueueFull):
            budget.hold("cat", asked)
    budget.hold("cat", 5)
    with pytest.raises(QueueFull):
        budget.hold("dan", 1)


def test_an_answer_larger_than_the_budget_is_sent_if_it_is_the_only_one() -> None:
    budget = ResponseBudget(100, 60.0)
    release = budget.hold("ann", 500)
    for name, error in (("ann", TooManyRequests), ("bob", QueueFull)):
        with pytest.raises(error):
            budget.hold(name, 1)
        with pytest.raises(error):
            budget.hold(name, 0)
    release()
    assert budget.held_bytes == 0
    budget.hold("bob", 500)


def test_holding_zero_bytes_takes_no_room() -> None:
    budget = ResponseBudget(100, 60.0)
    release = budget.hold("ann", 0)
    assert budget.held_bytes == 0
    budget.hold("ann", 50)
    release()
    assert budget.held_bytes == 50


class Clients:
    """A budget of 100 bytes whose answers are slow beyond 60 seconds; the test says what passes and what is read."""

    def __init__(self) -> None:
        self.now = 0.0
        self.taken: dict[str, int] = {}
        self.cut_off: list[str] = []
        self.budget = ResponseBudget(100, 60.0, lambda: self.now)

    def begin(self, name: str, count: int) -> Callable[[], None]:
        self.taken.setdefault(name, 1000)  # of earlier answers
        return self.budget.hold(name, count, Reader(lambda: self.taken[name], lambda: self.cut_off.append(name)))


@pytest.fixture
def clients() -> Clients:
    clients = Clients()
    for name in ("ann", "bob", "cat"):
        clients.begin(name, 30)
    return clients


def test_the_slowest_answers_are_cut_off_when_another_client_finds_no_room(clients: Clients) -> None:
    """Many clients that read a byte now and then must not keep everybody else out."""
    clients.now = 20.0
    for name, read in (("ann", 2), ("bob", 1), ("cat", 3)):
        clients.taken[name] += read
    clients.begin("dan", 45)
    assert clients.cut_off == ["bob", "ann"]
    assert clients.budget.held_bytes == 75


def test_a_part_of_a_picture_is_judged_by_its_own_length() -> None:
    """It holds the whole picture, but takes only the time of the part."""
    now, taken = 0.0, 0
    budget = ResponseBudget(100, 60.0, lambda: now)
    reader = Reader(lambda: taken, lambda: pytest.fail("cut off"))
    budget.hold("ann", 9, reader, part_of=bytes(90))
    now, taken = 20.0, 3
    with pytest.raises(QueueFull):
        budget.hold("bob", 20)
    assert budget.held_bytes == 90


def test_the_parts_of_one_picture_count_once_until_the_last_is_sent() -> None:
    """Download managers fetch many parts side by side; every other copy of the picture is memory of its own."""
    budget, picture, copy = ResponseBudget(1000, 60.0), bytes(90), bytes(90)
    first, second = (budget.hold("ann", 30, part_of=picture) for _ in range(2))
    assert budget.held_bytes == 90
    budget.hold("ann", 30, part_of=copy)
    budget.hold("bob", 30, part_of=picture)
    assert budget.held_bytes == 270
    first()
    assert budget.held_bytes == 270
    second()
    assert budget.held_bytes == 180
    budget.hold("ann", 30, part_of=picture)
    assert budget.held_bytes == 270


def test_nothing_is_kept_of_a_client_that_has_read_its_responses() -> None:
    budget, picture = ResponseBudget(1000, 60.0), bytes(90)
    release = budget.hold("ann", 30, part_of=picture)
    assert "ann" in repr(vars(budget))
    release()
    assert "ann" not in repr(vars(budget))


def test_the_rates_of_all_answers_are_looked_at_once_a_second_at_most() -> None:
    """A flood of requests, each of which is refused, must not cost a look at a thousand answers each."""
    clients, looks = Clients(), list[float]()

    def taken() -> int:
        looks.append(clients.now)
        return 1000 * len(looks)

    clients.budget.hold("ann", 100, Reader(taken, lambda: pytest.fail("cut off")))
    for clients.now in (10.0, 10.0, 10.9, 11.0, 11.5):
        with pytest.raises(QueueFull):
            clients.begin("dan", 20)
    assert looks == [0.0, 10.0, 11.0]


def test_nobody_is_cut_off_while_there_is_room(clients: Clients) -> None:
    clients.now = 1000.0
    clients.begin("dan", 10)
    assert clients.cut_off == []


def test_clients_that_read_fast_enough_or_have_just_begun_are_not_cut_off(clients: Clients) -> None:
    clients.now = 4.9
    with pytest.raises(QueueFull):
        clients.begin("dan", 20)
    clients.now = 20.0
    for name in ("ann", "bob", "cat"):
        clients.taken[name] += 10
    with pytest.raises(QueueFull):
        clients.begin("dan", 20)
    assert clients.cut_off == []


def test_a_client_that_holds_as_much_as_the_slow_ones_cuts_nobody_off(clients: Clients) -> None:
    clients.now = 20.0
    with pytest.raises(TooManyRequests):
        clients.begin("ann", 20)
    clients.begin("dan", 10)
    with pytest.raises(TooManyRequests):
        clients.begin("ann", 0)
    assert clients.cut_off == []


def test_an_answer_that_is_cut_off_is_released_once() -> None:
    clients = Clients()
    release = clients.begin("ann", 100)
    clients.now = 20.0
    clients.begin("bob", 100)
    release()
    assert clients.budget.held_bytes == 100


def test_an_answer_without_a_reader_is_not_cut_off() -> None:
    clients = Clients()
    clients.budget.hold("ann", 100)
    clients.now = 20.0
    with pytest.raises(QueueFull):
        clients.begin("bob", 1)


def test_a_client_that_asks_again_within_the_grace_time_gets_no_new_one() -> None:
    """Many clients that ask again every few seconds and read nothing must not keep others out."""
    clients = Clients()
    clients.budget.hold("bob", 60)
    for _ in range(2):
        release = clients.begin("ann", 30)
        clients.now += 4.0
        release()
    clients.begin("ann", 30)
    clients.now += 3.0
    clients.begin("dan", 20)
    assert clients.cut_off == ["ann"]


@pytest.mark.parametrize(
    ("seconds", "read", "pause"), [(4.0, 5, 0.0), (4.0, 0, 60.0), (0.9, 0, 0.0)], ids=["fast", "long over", "too short"]
)
def test_a_client_whose_last_answer_was_not_slow_gets_a_grace_time(seconds: float, read: int, pause: float) -> None:
    clients = Clients()
    clients.budget.hold("bob", 30)
    release = clients.begin("ann", 70)
    clients.now += seconds
    clients.taken["ann"] += read
    release()
    clients.now += pause
    clients.begin("ann", 70)
    clients.now += 3.0
    with pytest.raises(QueueFull):
        clients.begin("dan", 20)
    assert clients.cut_off == []


def test_a_client_that_reads_an_answer_fast_gets_its_grace_time_back() -> None:
    clients = Clients()
    clients.budget.hold("bob", 60)
    for read in (0, 30):
        release = clients.begin("ann", 30)
        clients.now += 4.0
        clients.taken["ann"] += read
        release()
    clients.begin("ann", 30)
    clients.now += 3.0
    with pytest.raises(QueueFull):
        clients.begin("dan", 20)
