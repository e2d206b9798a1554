"""A job of another process: what becomes of it when that process dies, or the board is away or emptied."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import pytest

from app.errors import JobLost, StoreUnavailable
from app.results import Shown
from app.service.job_polls import JobPolls
from app.service.job_snapshot import JobError, JobSnapshot, State
from app.service.job_view import RemoteView

NOBODY = Shown(None, leased=False, cancelled=False)
LOST = JobError(
    slug=JobLost.slug, detail="The process that ran this job is gone, and its work with it. Send the picture again."
)


def job(version: int, state: State = "running", webhook: Literal["pending", "delivered"] | None = None) -> JobSnapshot:
    return JobSnapshot(
        version=version,
        id="a",
        request_id="r",
        state=state,
        done_tiles=3,
        total_tiles=9,
        seconds_left=2.0,
        levels=(),
        error=None,
        webhook=webhook,
    )


def shown(version: int, state: State = "running", leased: bool = True) -> Shown:
    return Shown(job(version, state).model_dump_json(), leased=leased, cancelled=False)


class Board:
    """Says one thing after the other, a second each; "away" is no answer."""

    lease_seconds = 10.0
    incomplete = False

    def __init__(self, *says: Shown | str, watched: float = 1000.0) -> None:
        self.says = list(says)
        self.now, self.watched_seconds = 0.0, watched

    async def read(self, job_id: str, owner: str) -> Shown:
        assert (job_id, owner) == ("a", "ann")
        self.now += 1.0
        answer = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if isinstance(answer, str):
            self.watched_seconds = 0.0
            raise StoreUnavailable(answer)
        self.watched_seconds += 1.0
        return answer

    async def show(self, job_id: str, owner: str, document: str) -> bool:
        raise AssertionError("another process shows it")

    async def agree(self, job_id: str, owner: str, before: str | None, document: str, fresh_seconds: float) -> str:
        raise AssertionError("nobody shows anything else")

    async def cancel(self, job_id: str, owner: str) -> bool:
        raise AssertionError("nobody cancels it")

    async def cancelled(self, jobs: Sequence[tuple[str, str]]) -> Sequence[bool]:
        return [False for _ in jobs]


Watch = Callable[..., RemoteView]


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """A view of job "a" on a board, in version 1, which runs at the board's pace."""
    monkeypatch.setattr("app.service.job_polls.POLL_SECONDS", 0.0)

    polls = JobPolls()

    def view(board: Board, leased: bool = True) -> RemoteView:
        next_read = partial(polls.next, board, "a", "ann")
        return RemoteView(board, next_read, job(1), leased, clock=lambda: board.now)

    return view


async def test_changes_of_a_job_are_noticed(watch: Watch) -> None:
    view = watch(Board(shown(1), shown(1), shown(2), shown(3, "done")))
    assert await view.changed(1, 60.0)
    assert (view.snapshot.version, view.snapshot.state) == (2, "running")
    assert await view.changed(2, 60.0)
    assert (view.snapshot.version, view.snapshot.state) == (3, "done")


async def test_a_job_without_a_lease_is_lost(watch: Watch) -> None:
    view = watch(Board(shown(1), shown(1, leased=False)))
    assert await view.changed(1, 60.0)
    assert (view.snapshot.state, view.snapshot.error, view.snapshot.version) == ("failed", LOST, 2)
    assert view.snapshot.finished


def test_a_lost_job_is_reported_lost_to_later_requests_too(watch: Watch) -> None:
    assert watch(Board(NOBODY), leased=False).snapshot.error == LOST


@pytest.mark.parametrize(
    ("state", "leased", "webhook", "then"),
    [
        ("running", True, "pending", "pending"),
        ("running", False, "pending", "failed"),
        ("running", False, None, None),
        ("done", True, "pending", "pending"),
        ("done", False, "pending", "failed"),
        ("done", False, "delivered", "delivered"),
    ],
)
async def test_a_webhook_is_lost_with_the_process_that_would_have_delivered_it(
    watch: Watch, state: State, leased: bool, webhook: Literal["pending", "delivered"] | None, then: str | None
) -> None:
    view = watch(Board(Shown(job(2, state, webhook).model_dump_json(), leased=leased, cancelled=False)))
    assert await view.changed(1, 60.0)
    assert view.snapshot.webhook == then


async def test_a_finished_job_needs_no_lease(watch: Watch) -> None:
    view = watch(Board(shown(2, "done", leased=False)))
    assert await view.changed(1, 60.0)
    assert (view.snapshot.state, view.snapshot.error) == ("done", None)


async def test_an_outage_of_the_board_does_not_end_a_job(watch: Watch) -> None:
    """Leases run out in it as nobody can renew them, and for as long again they prove nothing."""
    view = watch(Board(*["away"] * 30, *[shown(1, leased=False)] * 9, shown(1), shown(2)))
    assert not await view.changed(1, 20.0)
    assert (view.snapshot.version, view.snapshot.state) == (1, "running")
    assert await view.changed(1, 60.0)
    assert (view.snapshot.version, view.snapshot.state) == (2, "running")


async def test_a_process_that_died_during_an_outage_is_noticed_after_it(watch: Watch) -> None:
    view = watch(Board(*["away"] * 5, *[shown(1, leased=False)] * 10))
    assert await view.changed(1, 60.0)
    assert view.snapshot.error == LOST


@pytest.mark.parametrize(
    "between", [[], [shown(1), *[NOBODY] * 9], ["away", *[NOBODY] * 9]], ids=["once", "twice", "away"]
)
async def test_after_the_board_was_emptied_jobs_have_time_to_be_shown_again(
    watch: Watch, between: list[Shown | str]
) -> None:
    view = watch(Board(*[NOBODY] * 9, *between, shown(1), shown(2, "done")))
    assert await view.changed(1, 60.0)
    assert (view.snapshot.state, view.snapshot.error) == ("done", None)


async def test_a_job_that_is_not_shown_again_is_lost(watch: Watch) -> None:
    board = Board(NOBODY)
    view = watch(board)
    assert await view.changed(1, 60.0)
    assert view.snapshot.error == LOST
    assert board.now == 1.0 + board.lease_seconds


async def test_a_cancelled_job_is_reported_cancelled_rather_than_lost(watch: Watch) -> None:
    view = watch(Board(Shown(None, leased=False, cancelled=True)))
    assert await view.changed(1, 60.0)
    assert (view.snapshot.state, view.snapshot.error) == ("cancelled", None)


@pytest.mark.parametrize("text", ["garbage", '{"version": 1}', "[]", ""])
async def test_documents_that_are_not_jobs_are_ignored(watch: Watch, text: str) -> None:
    """They may be another program's or, during a rolling upgrade, those of another version."""
    view = watch(Board(Shown(text, leased=True, cancelled=False), shown(2)))
    assert await view.changed(1, 60.0)
    assert view.snapshot.version == 2


async def test_a_thousand_watchers_of_a_job_read_it_as_often_as_one(watch: Watch) -> None:
    board = Board(shown(1), shown(1), shown(2))
    views = [watch(board) for _ in range(1000)]
    assert all(await asyncio.gather(*(view.changed(1, 60.0) for view in views)))
    assert {view.snapshot.version for view in views} == {2}
    assert board.now == 3.0


async def test_a_watcher_that_leaves_does_not_cancel_the_shared_read(watch: Watch) -> None:
    board = Board(shown(1), shown(2))
    first, second = watch(board), watch(board)
    leaving, waiting = asyncio.create_task(first.changed(1, 60.0)), asyncio.create_task(second.changed(1, 60.0))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await waiting
    assert board.now == 2.0


async def test_waiting_for_a_change_ends_at_the_timeout(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.service.job_polls.POLL_SECONDS", 60.0)
    assert not await watch(Board(shown(2))).changed(1, 0.01)


async def test_a_watcher_that_arrives_as_a_read_ends_waits_for_the_next_one(watch: Watch) -> None:
    """In the pass of the event loop in which it ends: the same one over and over would keep everybody else waiting."""
    ended = asyncio.Event()

    class Ending(Board):
        async def read(self, job_id: str, owner: str) -> Shown:
            ended.set()  # waiters for that run before anybody is notified of the read
            return await super().read(job_id, owner)

    board, polls = Ending(shown(1), shown(2)), JobPolls()

    async def late() -> Shown:
        await ended.wait()
        return await polls.next(board, "a", "ann")

    coming = asyncio.create_task(late())
    await asyncio.sleep(0)
    first = await polls.next(board, "a", "ann")
    assert (first, await coming) == (shown(1), shown(2))
