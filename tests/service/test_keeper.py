"""Results get into a store that is unavailable for a while; if they do not, the reason is reported."""

import asyncio
from collections.abc import Iterator, Mapping

import pytest
from prometheus_client import CollectorRegistry

from app.errors import StoreUnavailable
from app.metrics import NOT_KEPT, Metrics
from app.results import MemoryStore, StoredPicture
from app.service.keeper import Keeper
from tests.conftest import until

LEVELS = {2: StoredPicture.of(b"x" * 100, "image/png")}

pytestmark = pytest.mark.usefixtures("pictures_alone")


class Store(MemoryStore):
    """Raises `errors` one by one, and is a store in memory then."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__(1000, 60.0)
        self.errors = list(errors)
        self.asked = 0

    async def put(self, result_id: str, owner: str, levels: Mapping[int, StoredPicture], client: str = "") -> bool:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return await super().put(result_id, owner, levels, client)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.service.keeper.RETRY_SECONDS", 0.0)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


def not_kept(metrics: Metrics) -> dict[str, float | None]:
    name = "lapsrn_results_not_kept_total"
    return {reason: metrics.registry.get_sample_value(name, {"reason": reason}) for reason in NOT_KEPT}


def counting(step: float) -> Iterator[float]:
    now = 0.0
    while True:
        yield now
        now += step


async def test_a_stored_result_can_be_fetched(metrics: Metrics) -> None:
    store = Store()
    assert await Keeper(store, metrics, 1000, 60.0).keep("a", "", LEVELS, patient=True) == ""
    assert await store.get("a", "", 2) == LEVELS[2]
    assert not_kept(metrics) == {"too-large": 0.0, "full": 0.0, "unavailable": 0.0}


async def test_a_patient_keeper_retries_until_the_store_accepts_the_result(metrics: Metrics) -> None:
    store = Store(*[StoreUnavailable("away")] * 5, StoreUnavailable("full", full=True))
    assert await Keeper(store, metrics, 1000, 60.0).keep("a", "", LEVELS, patient=True) == ""
    assert store.asked == 7
    assert await store.get("a", "", 2) == LEVELS[2]
    assert not_kept(metrics) == {"too-large": 0.0, "full": 0.0, "unavailable": 0.0}


async def test_an_impatient_keeper_tries_once(metrics: Metrics) -> None:
    store = Store(StoreUnavailable("away"))
    problem = await Keeper(store, metrics, 1000, 60.0).keep("a", "", LEVELS)
    assert problem == (
        "The picture was made, but the results store did not answer, so it is lost. Send it again a little later."
    )
    assert (store.asked, not_kept(metrics)["unavailable"]) == (1, 1.0)


async def test_a_patient_keeper_gives_up_after_its_time(metrics: Metrics) -> None:
    store = Store(*[StoreUnavailable("full", full=True)] * 100)
    ticks = counting(1.0)
    problem = await Keeper(store, metrics, 1000, 10.0, clock=lambda: next(ticks)).keep("a", "", LEVELS, patient=True)
    assert "the results store had no memory left" in problem
    assert store.asked == 10
    assert not_kept(metrics) == {"too-large": 0.0, "full": 1.0, "unavailable": 0.0}


async def test_a_result_that_is_too_large_is_not_retried(metrics: Metrics) -> None:
    store = Store()
    levels = {2: StoredPicture.of(b"x" * 1001, "image/png")}
    problem = await Keeper(store, metrics, 1000, 60.0).keep("a", "", levels, patient=True)
    assert problem.startswith("The result has 1,001 bytes, more than the results store keeps.")
    assert (store.asked, not_kept(metrics)["too-large"]) == (1, 1.0)


async def test_a_result_that_turns_out_too_large_after_an_outage_is_reported_as_too_large(metrics: Metrics) -> None:
    store = Store(StoreUnavailable("away"))
    levels = {2: StoredPicture.of(b"x" * 1001, "image/png")}
    problem = await Keeper(store, metrics, 2000, 60.0).keep("a", "", levels, patient=True)
    assert problem.startswith("The result has 1,001 bytes, more than the results store keeps.")
    assert (store.asked, not_kept(metrics)) == (2, {"too-large": 1.0, "full": 0.0, "unavailable": 0.0})


async def test_the_bytes_of_waiting_results_are_bounded(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results in memory, for a store that is away: no more than the store may hold."""
    monkeypatch.setattr("app.service.keeper.RETRY_SECONDS", 600.0)
    store = Store(*[StoreUnavailable("away")] * 3)
    keeper = Keeper(store, metrics, 250, 60.0)
    waiting = [asyncio.create_task(keeper.keep(name, "", LEVELS, patient=True)) for name in "ab"]
    await until(lambda: store.asked == 2)
    assert "did not answer" in await keeper.keep("c", "", LEVELS, patient=True)
    keeper.hurry()
    assert await asyncio.gather(*waiting) == ["", ""]


async def test_the_waiting_results_of_one_client_leave_room_for_others(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.service.keeper.RETRY_SECONDS", 600.0)
    store = Store(*[StoreUnavailable("away")] * 5)
    keeper = Keeper(store, metrics, 404, 60.0)
    waiting = [asyncio.create_task(keeper.keep(name, "", LEVELS, client="ann", patient=True)) for name in "abcd"]
    await until(lambda: store.asked == 4)
    assert keeper.waiting_bytes == 400
    waiting.append(asyncio.create_task(keeper.keep("e", "", LEVELS, client="bob", patient=True)))
    await until(lambda: keeper.waiting_bytes == 500)
    keeper.hurry()
    assert await asyncio.gather(*waiting) == [""] * 5
    assert keeper.waiting_bytes == 0


async def test_closing_the_keeper_does_not_wait_for_the_store(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.service.keeper.RETRY_SECONDS", 600.0)
    store = Store(*[StoreUnavailable("away")] * 100)
    keeper = Keeper(store, metrics, 1000, 6000.0)
    waiting = asyncio.create_task(keeper.keep("a", "", LEVELS, patient=True))
    await until(lambda: store.asked)
    keeper.hurry()
    assert "did not answer" in await waiting
    assert store.asked == 2
