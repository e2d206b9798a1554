"""What is counted, and when."""

import math
import threading
import time
from collections.abc import Callable

import pytest

from app.engine.config import EngineConfig
from app.engine.rate import WorkRate
from app.engine.request import Request
from app.engine.scheduler import Scheduler
from app.engine.tiles import Shape
from app.errors import Draining, InferenceFailed, QueueFull, TooManyRequests
from tests.engine.fakes import Ear, Worked, cutting, picture


def request(tiles: int, client: str = "me", work: int = 1) -> tuple[Request, Ear]:
    ear = Ear()
    made = Request.cut([picture(8, 8 * tiles)], Worked(amount=work), cutting(8), client=client, scale=4, listener=ear)
    return made, ear


def at_most(count: int) -> Callable[[Shape], int]:
    return lambda shape: count


def state(scheduler: Scheduler) -> tuple[int, int, int, int]:
    """Requests under way, tiles that wait, tiles in flight, bytes under way."""
    tiles, _ = scheduler.waiting()
    return scheduler.requests, tiles, scheduler.in_flight, scheduler.bytes_under_way


BYTES = 8 * 8 * 4 * (1 + 4 + 16)


def test_tiles_and_bytes_are_counted_from_admission_to_the_last_tile() -> None:
    scheduler = Scheduler(EngineConfig())
    made, ear = request(3)
    scheduler.enlist("w")
    scheduler.admit(made)
    assert state(scheduler) == (1, 3, 0, 3 * BYTES)
    batch = scheduler.take("w", at_most(2))
    assert batch is not None
    assert state(scheduler) == (1, 1, 2, 3 * BYTES)
    scheduler.finished("w", batch, 0.1)
    assert (ear.progress, ear.ends) == ([(2, 3, 0)], [])
    assert state(scheduler) == (1, 1, 0, 3 * BYTES)
    scheduler.finished("w", scheduler.take("w", at_most(2)) or [], 0.1)
    assert (ear.progress[-1], ear.ends) == ((3, 3, 8), [None])
    assert state(scheduler) == (0, 0, 0, 0)


def test_the_backlog_is_the_pending_work_divided_by_the_measured_rate() -> None:
    scheduler = Scheduler(EngineConfig())
    scheduler.enlist("w")
    scheduler.admit(request(3)[0])
    assert scheduler.backlog_seconds() == 0.0
    batch = scheduler.take("w", at_most(2))
    assert batch is not None
    scheduler.finished("w", batch, 0.5)  # four tiles a second
    scheduler.admit(request(7, "another")[0])
    assert scheduler.backlog_seconds() == pytest.approx((1 + 7) / 4)


def test_the_backlog_is_measured_in_work_and_not_in_tiles() -> None:
    """From the thumbnails before, it follows how long large pictures will take, and vice versa."""
    scheduler = Scheduler(EngineConfig(max_tiles=10))
    scheduler.enlist("w")
    scheduler.admit(request(2, work=3)[0])
    scheduler.finished("w", scheduler.take("w", at_most(2)) or [], 0.5)  # twelve units a second
    large, _ = request(4, work=600)
    scheduler.admit(large)
    scheduler.admit(request(1, work=60, client="another")[0])
    assert scheduler.backlog_seconds() == pytest.approx((4 * 600 + 60) / 12)
    with pytest.raises(QueueFull) as refusal:
        scheduler.admit(request(20, client="a third")[0])
    assert refusal.value.retry_after == pytest.approx((4 * 600 + 60) / 12)
    scheduler.take("w", at_most(1))
    scheduler.release("w")
    scheduler.enlist("v")
    scheduler.finished("v", scheduler.take("v", at_most(1)) or [], 1.0)  # the other client's
    assert scheduler.backlog_seconds() == pytest.approx(4 * 600 / 60)
    scheduler.withdraw(large)
    assert scheduler.backlog_seconds() == 0.0


def test_a_withdrawn_request_is_counted_until_workers_return_its_tiles() -> None:
    scheduler = Scheduler(EngineConfig())
    made, ear = request(4)
    scheduler.enlist("w")
    scheduler.admit(made)
    batch = scheduler.take("w", at_most(1)) or []
    scheduler.withdraw(made)
    scheduler.withdraw(made)
    assert state(scheduler) == (1, 0, 1, 4 * BYTES)
    scheduler.finished("w", batch, 0.1)
    assert state(scheduler) == (0, 0, 0, 0)
    assert ear.ends == []
    assert ear.progress == []


def test_a_request_withdrawn_while_it_waits_leaves_nothing_counted() -> None:
    scheduler = Scheduler(EngineConfig(max_tiles=4))
    scheduler.enlist("w")
    for _ in range(3):
        made, _ = request(4)
        scheduler.admit(made)
        scheduler.withdraw(made)
        assert state(scheduler) == (0, 0, 0, 0)
    scheduler.admit(request(1)[0])
    scheduler.admit(request(3)[0])
    assert scheduler.waiting()[0] == 4


def test_a_failed_tile_ends_its_request_once() -> None:
    scheduler = Scheduler(EngineConfig())
    made, ear = request(4)
    scheduler.enlist("w")
    scheduler.admit(made)
    batch = scheduler.take("w", at_most(2)) or []
    error = InferenceFailed("no")
    for tile in batch:
        scheduler.failed("w", tile, error)
    assert ear.ends == [error]
    assert state(scheduler) == (0, 0, 0, 0)


def test_tiles_of_a_released_worker_are_served_first_and_its_late_results_are_ignored() -> None:
    scheduler = Scheduler(EngineConfig(max_failed_attempts=2, max_tiles=4, retry_seconds=7.5))
    made, ear = request(4)
    scheduler.enlist("w")
    scheduler.admit(made)
    batch = scheduler.take("w", at_most(1)) or []
    scheduler.release("w")
    assert state(scheduler) == (1, 4, 0, 4 * BYTES)
    scheduler.finished("w", batch, 0.1)
    scheduler.failed("w", batch[0], InferenceFailed("no"))
    assert (ear.progress, ear.ends) == ([], [])
    assert scheduler.take("w", at_most(1)) is None
    with pytest.raises(QueueFull) as refusal:
        scheduler.admit(request(1)[0])
    assert refusal.value.retry_after == 7.5, "no rate was measured"
    scheduler.enlist("v")
    assert scheduler.take("v", at_most(1)) == batch
    cause = OSError("lost")
    scheduler.release("v", cause)
    assert isinstance(ear.ends[0], InferenceFailed)
    assert ear.ends[0].__cause__ is cause
    assert state(scheduler) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("limits", "tiles", "wait"),
    [
        ({"max_tiles": 10}, 7, 3 / 2.0),
        ({"max_tiles": 10}, 1000, 6 / 2.0),
        ({"max_bytes": 12 * BYTES}, 6, 6 * 4 / 10 / 2.0),
        ({"max_tiles": 10, "max_bytes": 12 * BYTES}, 6, 6 * 4 / 10 / 2.0),
        ({"max_tiles": 10}, 5, 1.0),
    ],
)
def test_retry_after_is_the_time_until_there_is_room_at_the_measured_rate(
    limits: dict[str, int], tiles: int, wait: float
) -> None:
    scheduler = Scheduler(EngineConfig(**limits))  # type: ignore[arg-type]
    scheduler.enlist("w")
    scheduler.admit(request(10)[0])
    scheduler.finished("w", scheduler.take("w", at_most(4)) or [], seconds=2.0)
    with pytest.raises(QueueFull) as refusal:
        scheduler.admit(request(tiles)[0])
    assert refusal.value.retry_after == pytest.approx(wait)
    assert state(scheduler) == (1, 6, 0, 10 * BYTES), "a refused request leaves no trace"


def test_a_request_that_fills_the_queue_exactly_is_admitted() -> None:
    scheduler = Scheduler(EngineConfig(max_tiles=10, max_bytes=10 * BYTES))
    scheduler.admit(request(6)[0])
    scheduler.admit(request(4)[0])
    assert state(scheduler) == (2, 10, 0, 10 * BYTES)


def test_a_new_client_is_admitted_and_the_largest_one_is_told_to_send_fewer() -> None:
    scheduler = Scheduler(EngineConfig(max_tiles=12))
    scheduler.admit(request(12, "large")[0])
    with pytest.raises(QueueFull, match="12 tiles and 0 MiB are under way, and this picture's 1 tiles"):
        scheduler.admit(request(1, "large")[0])
    scheduler.admit(request(3, "new")[0])
    with pytest.raises(TooManyRequests, match=r"12 tiles and 0 MiB of yours .* your share .* send fewer") as refusal:
        scheduler.admit(request(1, "large")[0])
    assert refusal.value.retry_after == EngineConfig().retry_seconds
    with pytest.raises(QueueFull):
        scheduler.admit(request(3, "new")[0])
    assert state(scheduler)[:2] == (2, 15)


def test_bytes_are_shared_between_clients_like_tiles() -> None:
    scheduler = Scheduler(EngineConfig(max_bytes=12 * BYTES))
    scheduler.admit(request(12, "large")[0])
    with pytest.raises(QueueFull):
        scheduler.admit(request(4, "new")[0])
    scheduler.admit(request(3, "new")[0])
    with pytest.raises(TooManyRequests):
        scheduler.admit(request(1, "large")[0])


def test_a_refusal_blames_the_largest_user_of_what_is_short() -> None:
    scheduler = Scheduler(EngineConfig(max_tiles=1000, max_bytes=400 * BYTES))
    scheduler.admit(request(40, "many")[0])
    large = request(1, "few")[0]
    large.bytes = 200 * BYTES
    scheduler.admit(large)
    more = request(1, "few")[0]
    more.bytes = 300 * BYTES
    with pytest.raises(TooManyRequests):
        scheduler.admit(more)
    more.client = "many"
    with pytest.raises(QueueFull):
        scheduler.admit(more)


def test_a_request_larger_than_the_limit_leaves_room_for_other_clients() -> None:
    scheduler = Scheduler(EngineConfig(max_tiles=12))
    scheduler.admit(request(100, "large")[0])
    scheduler.admit(request(3, "new")[0])
    with pytest.raises(TooManyRequests):
        scheduler.admit(request(1, "large")[0])


def test_the_age_is_that_of_the_oldest_request_that_no_worker_has_begun() -> None:
    """The last tiles of a large picture wait for minutes while everybody else is served at once."""
    scheduler = Scheduler(EngineConfig())
    scheduler.enlist("w")
    first, second = request(9)[0], request(1, "other")[0]
    for made in (first, second):
        scheduler.admit(made)
    now = time.monotonic()
    first.admitted_at, second.admitted_at = now - 100, now - 50
    assert 100 <= scheduler.waiting()[1] < 110
    scheduler.take("w", at_most(1))
    assert 50 <= scheduler.waiting()[1] < 60
    scheduler.take("w", at_most(1))
    assert scheduler.waiting()[1] == 0.0


def test_a_waiting_worker_wakes_up_for_new_work_and_when_the_scheduler_closes() -> None:
    scheduler = Scheduler(EngineConfig())
    taken: list[int | None] = []
    first = threading.Event()

    def work() -> None:
        scheduler.enlist("w")
        while (batch := scheduler.take("w", at_most(8))) is not None:
            taken.append(len(batch))
            scheduler.finished("w", batch, 0.1)
            first.set()
        taken.append(None)

    thread = threading.Thread(target=work)
    thread.start()
    scheduler.admit(request(1)[0])
    assert first.wait(30)
    scheduler.close()
    thread.join(30)
    assert taken == [1, None]
    with pytest.raises(Draining):
        scheduler.admit(request(1)[0])


def test_a_waiting_holder_gets_what_a_released_one_had() -> None:
    scheduler = Scheduler(EngineConfig())
    scheduler.enlist("hung")
    scheduler.admit(request(1)[0])
    batch = scheduler.take("hung", at_most(1))
    taken: list[object] = []

    def work() -> None:
        scheduler.enlist("idle")
        taken.append(scheduler.take("idle", at_most(1)))

    thread = threading.Thread(target=work)
    thread.start()
    end = time.monotonic() + 30
    while not scheduler.idle:
        assert time.monotonic() < end
        time.sleep(0.001)
    scheduler.release("hung")
    thread.join(30)
    assert taken == [batch]


def test_the_rate_is_summed_over_workers_and_averaged_over_time() -> None:
    rate = WorkRate()
    assert rate.per_second() == 0.0
    rate.add("a", 4, 2.0)
    rate.add("b", 3, 1.0)
    assert rate.per_second() == pytest.approx(5.0)
    rate.add("a", 10, 10.0)
    kept = math.exp(-1)
    assert rate.per_second() == pytest.approx((4 * kept + 10) / (2 * kept + 10) + 3)
    rate.forget("b")
    assert rate.per_second() == pytest.approx((4 * kept + 10) / (2 * kept + 10))
    rate.forget("a")
    assert rate.per_second() == 0.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"tile_widths": ()},
        {"tile_widths": (8, 4)},
        {"tile_widths": (0, 4)},
        {"tile_heights": (8, 4)},
        {"tall_heights": (64,)},
        {"max_tiles": 0},
        {"max_failed_attempts": 0},
    ],
)
def test_impossible_limits_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        EngineConfig(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("how", [Scheduler.oldest_first, Scheduler.drain])
def test_a_drain_finishes_the_oldest_request_first(how: Callable[[Scheduler], None]) -> None:
    scheduler = Scheduler(EngineConfig())
    scheduler.enlist("w")
    requests = [request(3, client)[0] for client in "xyz"]
    for each in requests:
        scheduler.admit(each)
    how(scheduler)
    for expected in (requests[0],) * 3 + (requests[1],) * 3:
        (tile,) = scheduler.take("w", at_most(1)) or []
        assert tile.request is expected
        scheduler.finished("w", [tile])
    assert [each.remaining for each in requests] == [0, 0, 3]


def test_a_drain_still_admits_requests_that_are_being_decoded() -> None:
    scheduler = Scheduler(EngineConfig())
    scheduler.oldest_first()
    scheduler.admit(request(1)[0])
    assert state(scheduler)[:2] == (1, 1)
