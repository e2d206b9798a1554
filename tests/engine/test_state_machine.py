"""The scheduler in any order of calls, against a model: no tile is lost or done twice, and every counter is right."""

import sys
from collections import Counter
from typing import Literal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.engine.config import EngineConfig
from app.engine.request import Request, Tile
from app.engine.scheduler import Scheduler
from app.engine.tiles import Shape
from app.errors import Draining, InferenceFailed, QueueFull, TooManyRequests
from tests.engine.fakes import Ear, Worked, cutting, picture

LIMITS = EngineConfig(max_tiles=20, max_bytes=20_000, max_failed_attempts=2)
Place = Literal["waiting", "held", "done", "discarded"]


def admissible(held: Counter[str], client: str, amount: int, alone: int) -> bool:
    """Whether what the client then holds is at most three times what is then free; see app.shares."""
    ceiling = alone + alone // 3
    free = ceiling - sum(min(each, alone) for each in held.values())
    first = amount == 1 and not held[client] and free > 0
    return first or (held[client] + amount) * (ceiling - alone) <= (free - amount) * alone


class Case:
    """A request, who listens to it, and where its tiles should be by the model."""

    def __init__(self, client: str, sides: list[tuple[int, int]], scale: int, network: str, passes: int) -> None:
        """Planes of these (height, width)."""
        self.ear = Ear()
        self.request = Request.cut(
            [picture(height, width) for height, width in sides],
            Worked(name=network),
            cutting(4, 8, workers=2, split_above=8),
            client=client,
            scale=scale,
            listener=self.ear,
            passes=passes,
        )
        self.places: dict[Tile, Place] = dict.fromkeys(self.request.tiles, "waiting")
        self.state: Literal["open", "done", "failed", "withdrawn"] = "open"
        self.error: Exception | None = None
        self.attempts: Counter[Tile] = Counter()

    def at(self, place: Place) -> list[Tile]:
        """Its tiles at a place, in the request's order."""
        return [tile for tile in self.places if self.places[tile] == place]

    @property
    def waiting(self) -> dict[Shape, list[int]]:
        """The indices of the tiles that wait, in the request's order, for each shape."""
        found: dict[Shape, list[int]] = {}
        for tile in self.at("waiting"):
            found.setdefault(tile.shape, []).append(tile.index)
        return found

    def end(self, state: Literal["failed", "withdrawn"]) -> None:
        """Nothing of it waits any more, if it was open."""
        if self.state == "open":
            self.state = state
            self.places |= dict.fromkeys(self.at("waiting"), "discarded")

    def let_go(self, tile: Tile) -> None:
        """A worker is done with a tile, which counts as long as the request is open."""
        self.places[tile] = "done" if self.state == "open" else "discarded"
        if len(self.at("done")) == len(self.places):
            self.state = "done"

    @property
    def rows(self) -> int:
        """Rows from the top on that are written."""
        missing = [tile.row.start for tile, place in self.places.items() if place != "done"]
        return min(missing, default=self.request.height)

    @property
    def under_way(self) -> bool:
        """Whether it counts against the limits."""
        return self.state == "open" or bool(self.at("held"))


class SchedulerMachine(RuleBasedStateMachine):
    """Several clients and workers; a worker that died never comes back under its own name, but may still speak."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler(LIMITS)
        self.cases: list[Case] = []
        self.case_of: dict[Tile, Case] = {}
        self.held: dict[int, list[Tile]] = {}
        self.dead: dict[int, list[Tile]] = {}
        self.draining = self.closed = False
        self.enlist()

    def tiles(self, place: Place) -> list[Tile]:
        return [tile for case in self.cases for tile in case.at(place)]

    @property
    def under_way(self) -> list[Case]:
        return [case for case in self.cases if case.under_way]

    @property
    def bytes(self) -> int:
        return sum(case.request.bytes for case in self.under_way)

    @precondition(lambda self: not self.draining)
    @rule(
        client=st.sampled_from("abc"),
        sides=st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=1, max_size=2),
        scale=st.sampled_from([2, 4]),
        network=st.sampled_from(["x4", "x8"]),
        passes=st.sampled_from([1, 1, 1, 1, 2, 8]),
    )
    def admit(self, client: str, sides: list[tuple[int, int]], scale: int, network: str, passes: int) -> None:
        case = Case(client, sides, scale, network, passes)
        tiles, size = Counter[str](), Counter[str]()
        for other in self.under_way:
            tiles[other.request.client] += len(other.at("waiting")) + len(other.at("held"))
            size[other.request.client] += other.request.bytes
        fits = admissible(tiles, client, len(case.places), LIMITS.max_tiles) and admissible(
            size, client, case.request.bytes, LIMITS.max_bytes
        )
        if self.under_way and not fits:
            with pytest.raises((QueueFull, TooManyRequests)) as refusal:
                self.scheduler.admit(case.request)
            assert isinstance(refusal.value, QueueFull | TooManyRequests)
            assert refusal.value.retry_after >= 1.0
            if len(size) == 1 or not size[client]:
                assert isinstance(refusal.value, QueueFull)
        else:
            self.scheduler.admit(case.request)
            self.cases.append(case)
            self.case_of |= dict.fromkeys(case.places, case)

    @precondition(lambda self: len(self.held) < 2)
    @rule()
    def enlist(self) -> None:
        worker = len(self.held) + len(self.dead)
        self.scheduler.enlist(worker)
        self.held[worker] = []

    @precondition(lambda self: self.held and (self.closed or self.tiles("waiting")))
    @rule(data=st.data(), limit=st.integers(0, 9))
    def take(self, data: st.DataObject, limit: int) -> None:
        worker = data.draw(st.sampled_from(sorted(self.held)))
        batch = self.scheduler.take(worker, lambda shape: limit)
        if self.closed:
            assert batch is None
            return
        assert batch
        assert len(batch) <= max(1, limit)
        assert len({tile.shape for tile in batch}) == 1
        for case in {self.case_of[tile] for tile in batch}:
            mine = [tile for tile in batch if self.case_of[tile] is case]
            indices = [tile.index for tile in mine]
            assert indices == case.waiting[batch[0].shape][: len(mine)], "a request's tiles come in their order"
            case.places |= dict.fromkeys(mine, "held")
        self.held[worker] += batch

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data(), seconds=st.sampled_from([None, 0.0, 0.5]))
    def finish(self, data: st.DataObject, seconds: float | None) -> None:
        worker = data.draw(st.sampled_from([worker for worker in self.held if self.held[worker]]))
        held, everything = self.held[worker], data.draw(st.booleans())
        some = range(len(held)) if everything else data.draw(st.sets(st.sampled_from(range(len(held))), min_size=1))
        tiles = [held[at] for at in some]
        cases = {self.case_of[tile] for tile in tiles}
        told = {case: len(case.ear.progress) + (case.state == "open") for case in cases}
        self.scheduler.finished(worker, tiles, seconds)
        for tile in tiles:
            self.held[worker].remove(tile)
            self.case_of[tile].let_go(tile)
        for case, count in told.items():
            assert len(case.ear.progress) == count, "told once a call, and not after its end"

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from([worker for worker in self.held if self.held[worker]]))
        tile = self.held[worker][data.draw(st.sampled_from(range(len(self.held[worker]))))]
        case, error = self.case_of[tile], InferenceFailed("a poisoned tile")
        if case.state == "open":
            case.error = error
        self.scheduler.failed(worker, tile, error)
        case.end("failed")
        self.held[worker].remove(tile)
        case.let_go(tile)

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data(), replaced=st.booleans())
    def die(self, data: st.DataObject, replaced: bool) -> None:
        """What a worker held waits again, unless it was held by too many that died."""
        worker = data.draw(st.sampled_from([worker for worker in self.held if self.held[worker]]))
        cause = TimeoutError("hung")
        self.scheduler.release(worker, cause)
        tiles = self.dead[worker] = self.held.pop(worker)
        for tile in tiles:
            case = self.case_of[tile]
            case.attempts[tile] += 1
            if case.attempts[tile] == LIMITS.max_failed_attempts and case.state == "open":
                case.end("failed")
                (case.error,) = case.ear.ends
                assert isinstance(case.error, InferenceFailed)
                assert case.error.__cause__ is cause
        for tile in tiles:
            case = self.case_of[tile]
            case.places[tile] = "waiting" if case.state == "open" else "discarded"
        self.hear_the_dead()
        if replaced:
            self.enlist()

    def hear_the_dead(self) -> None:
        """A hung worker may wake up at any time; nothing that it says counts."""
        for worker, tiles in self.dead.items():
            self.scheduler.finished(worker, tiles, 0.1)
            for tile in tiles:
                self.scheduler.failed(worker, tile, InferenceFailed("too late"))
            self.scheduler.release(worker)
            if self.scheduler.waiting()[0]:  # it would wait for work if it were not refused
                assert self.scheduler.take(worker, lambda shape: 1) is None

    @precondition(lambda self: self.cases)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        case = self.cases[data.draw(st.sampled_from(range(len(self.cases))))]
        self.scheduler.withdraw(case.request)
        case.end("withdrawn")

    @precondition(lambda self: len(self.cases) > 4 and not self.draining)
    @rule()
    def drain(self) -> None:
        self.scheduler.drain()
        self.draining = True
        with pytest.raises(Draining):
            self.scheduler.admit(Case("late", [(4, 4)], 2, "x4", passes=1).request)

    @precondition(lambda self: self.draining and not self.closed)
    @rule()
    def close(self) -> None:
        self.scheduler.close()
        self.closed = True

    @invariant()
    def the_counters_are_the_models(self) -> None:
        tiles, age = self.scheduler.waiting()
        assert tiles == len(self.tiles("waiting"))
        unbegun = [case for case in self.under_way if case.request.pending and case.request.started_at is None]
        assert age >= 0.0 if unbegun else age == 0.0
        assert self.scheduler.in_flight == len(self.tiles("held")) == sum(map(len, self.held.values()))
        assert self.scheduler.requests == len(self.under_way)
        assert self.scheduler.bytes_under_way == self.bytes
        assert self.scheduler.draining == self.draining

    @invariant()
    def every_tile_is_where_it_should_be(self) -> None:
        for case in self.cases:
            request = case.request
            pending = {shape: [tile.index for tile in tiles] for shape, tiles in request.pending.items()}
            assert pending == case.waiting
            held, done = len(case.at("held")), len(case.at("done"))
            counted = (request.held, request.total, request.total - request.remaining, request.rows, request.closed)
            assert counted == (held, len(case.places), done, case.rows, case.state != "open")

    @invariant()
    def everybody_was_told_once(self) -> None:
        for case in self.cases:
            progress = case.ear.progress
            assert case.ear.ends == {"done": [None], "failed": [case.error]}.get(case.state, [])
            if done := len(case.at("done")):
                assert progress[-1] == (done, len(case.places), case.rows)
            assert progress == sorted(progress)

    def teardown(self) -> None:
        if sys.exc_info()[0] is None:  # it is also called after a failure, which must remain the one reported
            self.come_to_rest()

    def come_to_rest(self) -> None:
        """What is under way comes to an end, and nothing is left."""
        self.hear_the_dead()
        if not self.closed:
            self.enlist()
            while self.scheduler.waiting()[0]:
                batch = self.scheduler.take(max(self.held), lambda shape: 8) or []
                for tile in batch:
                    self.case_of[tile].places[tile] = "held"
                self.held[max(self.held)] += batch
        for case in self.cases:
            if case.at("waiting"):
                self.scheduler.withdraw(case.request)
                case.end("withdrawn")
        for worker, tiles in self.held.items():
            self.scheduler.finished(worker, tiles, 0.1)
            for tile in tiles:
                self.case_of[tile].let_go(tile)
            tiles.clear()
        self.the_counters_are_the_models()
        self.every_tile_is_where_it_should_be()
        self.everybody_was_told_once()
        counters = (self.scheduler.requests, self.scheduler.in_flight, self.scheduler.bytes_under_way)
        assert (*self.scheduler.waiting(), *counters) == (0, 0.0, 0, 0, 0)
        assert (self.scheduler._tiles.total, self.scheduler._bytes.total) == (0, 0)
        assert all(case.state != "open" for case in self.cases)


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(max_examples=100, stateful_step_count=40)
