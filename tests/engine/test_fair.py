"""Whose turn it is."""

from collections.abc import Sequence

import pytest

from app.engine.fair import FairQueue
from app.engine.request import Request
from app.engine.tiles import Shape
from tests.engine.fakes import Worked, cutting, picture


class Nobody:
    """A Listener that does not care."""

    def progressed(self, done: int, total: int, rows: int) -> None: ...

    def settled(self, error: Exception | None) -> None: ...


def request(client: str, tiles: int, scale: int = 4, size: int = 8, work: int = 1) -> Request:
    made = Request.cut(
        [picture(size, size * tiles)],
        Worked(scales=(2, 4, 8), amount=work),
        cutting(size),
        client=client,
        scale=scale,
        listener=Nobody(),
    )
    assert made.total == tiles
    return made


def queue_of(*requests: Request) -> FairQueue:
    queue = FairQueue()
    for each in requests:
        queue.add(each.tiles)
    return queue


def served(queue: FairQueue, requests: Sequence[Request], limit: int = 1) -> str:
    """The requests' letters in the order of their tiles, until nothing waits; batches are separated by a blank."""
    letters = {id(each): chr(ord("a") + index) for index, each in enumerate(requests)}
    batches = []
    while batch := queue.take(lambda shape: limit):
        batches.append("".join(letters[id(tile.request)] for tile in batch))
    assert queue.tiles == 0
    return " ".join(batches) if limit > 1 else "".join(batches)


def test_clients_take_turns_tile_by_tile() -> None:
    requests = [request("x", 4), request("y", 2), request("z", 3)]
    assert served(queue_of(*requests), requests) == "abcabcaca"


def test_requests_of_one_client_take_turns_within_its_turn() -> None:
    requests = [request("x", 4), request("x", 2), request("y", 6)]
    assert served(queue_of(*requests), requests) == "acbcacbcacac"


def test_tiles_of_several_shapes_are_computed_from_the_top_down() -> None:
    """Rows that are complete can be written, and their memory be freed."""
    mixed = request("x", 6)
    for tile in mixed.tiles:
        tile.shape = tile.shape._replace(clean=tile.index % 2)
    queue = queue_of(mixed)
    assert [queue.take(lambda shape: 1)[0].index for _ in range(6)] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("work", "order"),
    [
        ((4, 1), "abbbbabbbbabbbb"),
        ((3, 2), "abbababbbbbbbbb"),
        ((1, 1), "abababbbbbbbbbb"),
    ],
)
def test_clients_get_equal_shares_of_work_rather_than_of_tiles(work: tuple[int, int], order: str) -> None:
    """A large picture by a deep network must not take from small ones more than their clients' parts."""
    requests = [request("x", 3, size=16, work=work[0]), request("y", 12, work=work[1])]
    assert served(queue_of(*requests), requests) == order


def test_turns_are_short_again_once_large_tiles_are_done() -> None:
    requests = [request("x", 2, size=16, work=4), request("y", 6), request("z", 6)]
    assert served(queue_of(*requests), requests) == "abbbbccccabcbc"


def test_a_newcomer_waits_for_one_turn_at_most() -> None:
    bulk = [request(name, 3) for name in "vwxy"]
    queue = queue_of(*bulk)
    for _ in bulk:
        queue.take(lambda shape: 1)
    late = request("z", 1)
    queue.add(late.tiles)
    assert served(queue, [*bulk, late]) == "aebcdabcd"


def test_a_small_request_overtakes_the_same_clients_large_one() -> None:
    large, small = request("x", 5), request("x", 1)
    queue = queue_of(large)
    queue.take(lambda shape: 1)
    queue.add(small.tiles)
    assert served(queue, [large, small]) == "abaaa"


def test_a_client_with_more_requests_does_not_move_forward() -> None:
    requests = [request("x", 2), request("y", 2), request("z", 2), request("z", 1)]
    queue = queue_of(*requests[:3])
    for _ in range(3):
        queue.take(lambda shape: 1)
    queue.add(requests[3].tiles)
    assert served(queue, requests) == "abcd"


def test_a_batch_takes_one_tile_of_each_client_in_turn() -> None:
    requests = [request("x", 6), request("y", 1), request("z", 6)]
    assert served(queue_of(*requests), requests, limit=4) == "abca caca caca c"


@pytest.mark.parametrize("other", [{"scale": 2}, {"size": 16}])
def test_a_batch_holds_one_shape_and_one_scale_only(other: dict[str, int]) -> None:
    requests = [request("x", 2), request("y", 2, **other), request("z", 2)]
    assert served(queue_of(*requests), requests, limit=4) == "acac bb"


def test_a_batch_takes_from_clients_that_still_have_tiles_of_its_shape() -> None:
    """Clients may have had tiles of the shape, taken or discarded, and have others now."""
    mixed = [request("x", 1), request("x", 2, size=16), request("y", 2), request("y", 2, size=16), request("z", 3)]
    queue = queue_of(*mixed)
    queue.discard(mixed[2])
    assert served(queue, mixed, limit=2) == "ae db ee db"


def test_a_request_is_served_from_the_top_down_whatever_shapes_its_tiles_have() -> None:
    made = Request.cut(
        [picture(40, 8)],
        Worked(scales=(4,)),
        cutting(8, 16),
        client="x",
        scale=4,
        listener=Nobody(),
    )
    shapes = {tile.shape for tile in made.tiles}
    queue = queue_of(made)
    order = []
    while batch := queue.take(lambda shape: 1):
        order += [tile.index for tile in batch]
    assert len(shapes) > 1
    assert order == sorted(order)


@pytest.mark.parametrize(
    ("waiting", "limit", "size"), [(1, 8, 1), (3, 8, 2), (7, 8, 4), (9, 8, 8), (9, 6, 4), (5, 0, 1)]
)
def test_batch_sizes_are_powers_of_two_within_the_limit(waiting: int, limit: int, size: int) -> None:
    queue = queue_of(request("x", waiting))
    assert len(queue.take(lambda shape: limit)) == size


@pytest.mark.parametrize(("takers", "sizes"), [(1, [8, 4]), (2, [4, 4]), (3, [4, 2]), (100, [1, 1])])
def test_idle_workers_share_the_waiting_tiles(takers: int, sizes: list[int]) -> None:
    queue = queue_of(request("x", 12))
    assert [len(queue.take(lambda shape: 8, takers)) for _ in sizes] == sizes


def test_the_batch_limit_is_looked_up_for_the_shape_whose_turn_it_is() -> None:
    asked: list[Shape] = []
    queue = queue_of(request("x", 2, size=16))
    queue.take(lambda shape: asked.append(shape) or 1)  # type: ignore[func-returns-value]
    assert asked == [Shape(16, 16, 4, "fake_x4")]
    assert asked[0].pixels == 256


def test_discarding_a_request_leaves_the_others_alone() -> None:
    requests = [request("x", 3), request("x", 2), request("y", 2)]
    queue = queue_of(*requests)
    queue.discard(requests[0])
    queue.discard(requests[0])
    assert queue.tiles == 4
    assert served(queue, requests) == "bcbc"


def test_returned_tiles_are_served_first() -> None:
    one = request("x", 3)
    queue = queue_of(one)
    batch = queue.take(lambda shape: 1)
    queue.add(batch)
    assert queue.take(lambda shape: 1) == batch


def test_returned_tiles_are_served_in_the_order_of_their_request() -> None:
    queue = queue_of(request("x", 6))
    taken = queue.take(lambda shape: 4)
    queue.add([taken[2], taken[0]])
    queue.add([taken[1]])
    assert [queue.take(lambda shape: 1)[0].index for _ in range(5)] == [0, 1, 2, 4, 5]


def test_an_empty_queue_forgets_its_clients() -> None:
    queue = queue_of(request("x", 3), request("y", 1))
    gone = request("z", 2)
    queue.add(gone.tiles)
    queue.discard(gone)
    while queue.take(lambda shape: 2):
        pass
    assert not queue._clients
    assert not queue._turns
    assert not queue._waiting


def finished(oldest_first: bool, count: int) -> int:
    """How many of 24 requests with 25 tiles each, of three clients, are done after so many tiles."""
    requests = [request("xyz"[index % 3], 25) for index in range(24)]
    queue = FairQueue()
    for number, each in enumerate(requests):
        each.admitted_at = float(number)
        queue.add(each.tiles)
    queue.oldest_first = oldest_first
    for _ in range(count):
        (tile,) = queue.take(lambda shape: 1)
        tile.request.wrote(tile)
    return sum(not each.remaining for each in requests)


def test_a_drain_finishes_one_request_after_the_other() -> None:
    """In turns, no request would be finished when the grace time is over."""
    assert finished(False, 296) == 0
    assert finished(True, 296) == 11


def test_while_draining_a_batch_takes_all_tiles_of_the_oldest_request_before_others() -> None:
    requests = [request("x", 3), request("y", 2), request("x", 4)]
    for age, each in zip((2.0, 1.0, 3.0), requests, strict=True):
        each.admitted_at = age
    queue = queue_of(*requests)
    queue.oldest_first = True
    assert served(queue, requests, limit=4) == "bbaa accc c"


def test_while_draining_the_oldest_request_is_first_even_if_its_shape_differs() -> None:
    requests = [request("x", 2, size=8), request("y", 2, size=16), request("z", 2, size=8)]
    for age, each in enumerate(requests):
        each.admitted_at = float(age)
    queue = queue_of(*requests)
    queue.oldest_first = True
    assert served(queue, requests, limit=4) == "aacc bb"


def test_while_draining_a_tile_returned_by_a_dead_worker_is_the_next_of_its_request() -> None:
    requests = [request("x", 2), request("y", 2)]
    for age, each in enumerate(requests):
        each.admitted_at = float(age)
    queue = queue_of(*requests)
    queue.oldest_first = True
    (lost,) = queue.take(lambda shape: 1)
    queue.add([lost])
    assert queue.take(lambda shape: 1) == [lost]
    assert served(queue, requests) == "abb"
