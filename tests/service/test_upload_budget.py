"""Bytes of bodies: the slowest uploads are cut off when somebody else finds no room."""

import pytest

from app.errors import QueueFull, SlowClient, TooManyBytes, TooManyRequests
from app.service.upload_budget import Reservation, UploadBudget


class Clients:
    """Budgets of 90 bytes, 120 for all, whose uploads are slow beyond 30 seconds; the test says what passes."""

    def __init__(self) -> None:
        self.now = 0.0
        self.woken: list[str] = []
        self.budget = UploadBudget(90, 30.0, lambda: self.now)

    def begin(self, name: str, declared: int = 0) -> Reservation:
        upload = self.budget.reserve(name)
        upload.arriving(declared, lambda: self.woken.append(name))
        return upload


@pytest.fixture
def clients() -> Clients:
    return Clients()


def filled(clients: Clients, declared: int = 80) -> dict[str, Reservation]:
    """Ten clients that hold all but ten bytes, the first of them the slowest; none has room for more."""
    uploads = {f"{index}": clients.begin(f"{index}", declared + 10 - index) for index in range(10)}
    for upload in uploads.values():
        upload.grow(11)
    assert clients.budget.held_bytes == 110
    return uploads


def test_the_slowest_uploads_are_cut_off_when_another_client_finds_no_room(clients: Clients) -> None:
    """Sixty slow uploads of 6 MB must not keep others of 5 MB out."""
    uploads = filled(clients)
    clients.now = 20.0
    clients.begin("dan").grow(25)
    assert clients.woken == ["0", "1", "2"]
    assert clients.budget.held_bytes == 7 * 11 + 25
    for call in (uploads["0"].arrived, uploads["0"].check):
        with pytest.raises(SlowClient, match="arrived slowly while others found no room"):
            call()
    with pytest.raises(SlowClient):
        uploads["0"].grow(1)
    uploads["0"].release()
    uploads["3"].grow(1)
    assert clients.budget.held_bytes == 7 * 11 + 25 + 1


@pytest.mark.parametrize(("declared", "seconds"), [(90, 4.9), (90, 0.0), (12, 27.0), (0, 29.0)])
def test_uploads_that_are_fast_enough_or_have_just_begun_are_not_cut_off(
    clients: Clients, declared: int, seconds: float
) -> None:
    """For a body of undeclared length, only its age is known."""
    filled(clients, declared and declared - 10)
    clients.now = seconds
    with pytest.raises(QueueFull):
        clients.begin("dan").grow(25)
    assert clients.woken == []


def test_a_body_of_unknown_length_counts_as_slow_after_the_whole_time(clients: Clients) -> None:
    filled(clients, -10)
    clients.now = 30.1
    clients.begin("dan").grow(25)
    assert len(clients.woken) == 3


def test_a_body_that_has_arrived_is_not_cut_off(clients: Clients) -> None:
    for upload in filled(clients).values():
        upload.arrived()
    clients.now = 20.0
    with pytest.raises(QueueFull):
        clients.begin("dan").grow(25)
    assert clients.woken == []


@pytest.mark.parametrize("asks", ["slowly", "with more than the others", "with a second one"])
def test_a_client_that_is_slow_itself_or_holds_as_much_cuts_nobody_off(clients: Clients, asks: str) -> None:
    uploads = filled(clients)
    asking = uploads["5"] if asks == "slowly" else clients.begin("5")
    if asks == "with a second one":
        asking.grow(1)
    clients.now = 20.0
    with pytest.raises(TooManyRequests):
        asking.grow(25)
    assert clients.woken == []


def test_a_released_upload_is_not_cut_off(clients: Clients) -> None:
    filled(clients)["0"].release()
    clients.now = 20.0
    clients.begin("dan").grow(25)
    assert clients.woken == ["1", "2"]


def test_an_upload_that_was_slow_and_is_over_is_not_cut_off(clients: Clients) -> None:
    uploads = filled(clients)
    clients.now = 20.0
    clients.begin("dan").grow(25)
    uploads["3"].arrived()
    clients.begin("eve").grow(25)
    assert clients.woken == ["0", "1", "2", "4", "5"]
    uploads["3"].check()


def test_what_an_upload_holds_itself_does_not_keep_it_from_growing_on(clients: Clients) -> None:
    filled(clients)
    clients.now = 20.0
    upload = clients.begin("dan")
    for _ in range(2):
        upload.grow(25)
    assert clients.woken == ["0", "1", "2", "3", "4", "5"]


def test_a_body_that_never_fits_is_refused_as_too_large(clients: Clients) -> None:
    clients.begin("ann", 90).grow(60)
    with pytest.raises(TooManyBytes, match="at most 90 bytes"):
        clients.begin("bob", 91)
    upload = clients.begin("cat")
    upload.grow(1)
    with pytest.raises(TooManyBytes):
        upload.grow(90)
    assert clients.budget.held_bytes == 61
