"""Idempotency-Key: one job for a request that is sent again, also to another process."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from app.api import routes_upscale
from app.errors import BadParameter, NotFound
from app.options import UpscaleOptions
from app.results import Shown
from app.results.redis import RedisStore
from app.service.caller import Caller
from app.service.pipeline import Order
from app.service.repeats import Repeats, fingerprint
from bench.redis_server import RedisServer
from tests import pictures
from tests.conftest import Running

FILE = pictures.png(pictures.gray())
OTHER = pictures.png(pictures.gray(5, 7))


async def begin(
    client: httpx.AsyncClient, key: str | None, query: str = "", body: bytes = FILE, api_key: str = ""
) -> httpx.Response:
    sent = (
        {"Prefer": "respond-async"}
        | ({} if key is None else {"Idempotency-Key": key})
        | ({"X-API-Key": api_key} if api_key else {})
    )
    answer = await client.post(f"/upscale{query}", files={"image": body}, headers=sent)
    client.cookies.clear()
    return answer


async def test_a_repeated_key_gives_the_same_job(client: httpx.AsyncClient) -> None:
    first, again = await begin(client, "a"), await begin(client, "a")
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"]
    assert first.headers["Location"] == again.headers["Location"]
    assert first.headers["X-Upscale-Id"] == again.headers["X-Upscale-Id"]


async def test_concurrent_requests_with_one_key_give_one_job(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(begin(client, "at-once") for _ in range(5)))
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_pictures_are_hashed_in_a_thread(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the event loop, the hash of a large one would delay everybody."""
    threads = []

    def noted(*arguments: Any) -> str:
        threads.append(threading.current_thread())
        return fingerprint(*arguments)

    monkeypatch.setattr(routes_upscale, "fingerprint", noted)
    assert (await begin(client, "a")).status_code == 202
    assert threading.current_thread() not in threads != []


async def test_different_or_missing_keys_give_separate_jobs(client: httpx.AsyncClient) -> None:
    answers = [await begin(client, key) for key in ("a", "b", None, None)]
    assert len({answer.json()["id"] for answer in answers}) == 4


@pytest.mark.parametrize(("query", "body"), [("?scale=2", FILE), ("", OTHER), ("?format=webp", FILE)])
async def test_a_key_used_for_another_request_is_422(client: httpx.AsyncClient, query: str, body: bytes) -> None:
    await begin(client, "used")
    answer = await begin(client, "used", query, body)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("Idempotency-Key: it was used for another picture")


async def test_a_key_is_forgotten_with_its_job(client: httpx.AsyncClient) -> None:
    first = await begin(client, "gone")
    assert (await client.delete(first.headers["Location"])).status_code == 204
    again = await begin(client, "gone")
    assert again.status_code == 202
    assert again.json()["id"] != first.json()["id"]


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_an_empty_or_too_long_key_is_422(client: httpx.AsyncClient, key: str) -> None:
    answer = await begin(client, key)
    assert answer.status_code == 422
    assert "idempotency" in answer.json()["detail"].lower()


async def test_clients_do_not_share_keys(serve: Running) -> None:
    import hashlib

    keys = tuple({"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest()} for name in ("one", "two"))
    async with serve(api_keys=keys) as client:
        ids = {(await begin(client, "same", api_key=name)).json()["id"] for name in ("one", "two")}
    assert len(ids) == 2


class Board:
    """Two processes' common board. What is on it is leased if it is `fresh`."""

    lease_seconds = watched_seconds = 10.0
    incomplete = False

    def __init__(self, *, fresh: bool = False) -> None:
        self.shown: dict[tuple[str, str], str] = {}
        self._fresh = fresh

    async def show(self, job_id: str, owner: str, document: str) -> bool:
        self.shown[job_id, owner] = document
        return False

    async def read(self, job_id: str, owner: str) -> Shown:
        await asyncio.sleep(0)
        return Shown(self.shown.get((job_id, owner)), leased=self._fresh, cancelled=False)

    async def agree(self, job_id: str, owner: str, before: str | None, document: str, fresh_seconds: float) -> str:
        await asyncio.sleep(0)
        if self.shown.get((job_id, owner), before) == before:
            self.shown[job_id, owner] = document
        return self.shown[job_id, owner]

    async def cancel(self, job_id: str, owner: str) -> bool:
        return False

    async def cancelled(self, jobs: Sequence[tuple[str, str]]) -> Sequence[bool]:
        return [False for _ in jobs]


class Directory:
    """Finds the jobs that have been begun."""

    def __init__(self) -> None:
        self.begun: set[str] = set()

    async def find(self, job_id: str, owner: str) -> str:
        if job_id not in self.begun:
            raise NotFound("no such job")
        return job_id


ME = Caller("me", "owner", 1, 0, False)


def processes(board: Board | None, most: int = 10) -> tuple[Directory, Repeats, Repeats]:
    """Two, which see the same jobs."""
    directory = Directory()
    one, other = (Repeats(directory, board, most) for _ in range(2))  # type: ignore[arg-type]
    return directory, one, other


async def test_another_process_finds_the_job_of_a_key() -> None:
    board = Board()
    directory, one, other = processes(board)
    order = Order(UpscaleOptions(), "me", "owner", "the id", "", None)
    asked = fingerprint(order, FILE)
    assert await one.find("key", ME, asked, "the id") is None
    directory.begun.add("the id")
    assert str(await other.find("key", ME, asked, "another id")) == "the id"
    with pytest.raises(BadParameter):
        await other.find("key", ME, fingerprint(order, OTHER), "another id")
    assert await other.find("another", ME, asked, "another id") is None
    assert "key" not in str(board.shown)


async def test_clients_of_one_owner_do_not_share_keys_on_the_board() -> None:
    """As all are without API keys: they would get each other's jobs."""
    directory, one, other = processes(Board())
    assert await one.find("key", ME, "asked", "the id") is None
    directory.begun.add("the id")
    assert await other.find("key", replace(ME, name="another"), "asked", "another id") is None
    assert str(await other.find("key", ME, "asked", "another id")) == "the id"


def test_another_webhook_is_another_request() -> None:
    order = Order(UpscaleOptions(), "me", "owner", "the id", "", None)
    webhooks = ("", "https://example.org/a", "https://example.org/b")
    assert len({fingerprint(order, FILE, each) for each in webhooks}) == 3


@dataclass(frozen=True, slots=True, kw_only=True)
class NextOptions(UpscaleOptions):
    """Of the next version, with one option more."""

    sharpen: str | None = None


@pytest.mark.parametrize("formats", [("webp",), ("webp", "png", "a new one")])
def test_a_key_is_recognised_after_an_upgrade_of_the_service(formats: tuple[Any, ...]) -> None:
    """With one option more, and one format more for clients that accept all, the key was "used for other options"."""
    order = Order(UpscaleOptions(scale=2), "me", "owner", "the id", "", None, ("webp", "png"))
    same = replace(order, options=NextOptions(scale=2), formats=formats)
    other = replace(order, options=NextOptions(scale=2, sharpen="yes"), formats=formats)
    assert fingerprint(same, FILE) == fingerprint(order, FILE) != fingerprint(other, FILE)


async def test_two_processes_given_one_key_at_once_begin_one_job() -> None:
    directory, *both = processes(Board())

    async def ask(repeats: Repeats, job_id: str) -> str:
        job = await repeats.find("key", ME, "asked", job_id)
        if job is None:
            await asyncio.sleep(0.01)  # until it is shown
            directory.begun.add(job_id)
        return str(job or job_id)

    answers = await asyncio.gather(*(ask(repeats, f"{i}") for i, repeats in enumerate(both)))
    assert len({*answers, *directory.begun}) == 1


async def test_two_services_given_one_key_at_once_begin_one_job(serve: Running, redis_server: RedisServer) -> None:
    async with serve(redis_url=redis_server.url) as one, serve(redis_url=redis_server.url) as other:
        for key in ("a", "b", "c"):
            answers = await asyncio.gather(*(begin(client, key) for client in (one, other, one, other)))
            assert [answer.status_code for answer in answers] == [202] * 4
            assert len({answer.json()["id"] for answer in answers}) == 1
            assert (await begin(other, key, "?scale=2")).status_code == 422


async def test_a_request_waits_for_the_job_of_another_that_has_just_claimed_the_key() -> None:
    directory, one, other = processes(Board(fresh=True))
    assert await one.find("key", ME, "asked", "first") is None
    second = asyncio.create_task(other.find("key", ME, "asked", "second"))
    await asyncio.sleep(0.01)
    directory.begun.add("first")
    assert str(await second) == "first"


async def test_a_claim_on_a_key_expires(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.url, 1, 600)
    board = store.board(600, 600)
    try:
        assert [await board.agree("id", "owner", None, text, 60) for text in ("one", "other")] == ["one", "one"]
        assert await board.read("id", "owner") == Shown("one", leased=True, cancelled=False)
        assert await board.agree("id", "owner", "one", "later", 0.001) == "later"
        await asyncio.sleep(0.01)
        assert await board.read("id", "owner") == Shown("later", leased=False, cancelled=False)
    finally:
        await store.close()


@pytest.mark.parametrize("board", [None, Board()])
async def test_a_key_whose_job_is_never_begun_becomes_free(
    board: Board | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.service.repeats._PATIENCE_SECONDS", 0.02)
    directory, one, other = processes(board)
    assert await one.find("key", ME, "asked", "refused") is None
    assert await one.find("key", ME, "asked", "one") is None
    directory.begun.add("one")
    assert str(await one.find("key", ME, "asked", "two")) == "one"
    if board is not None:
        assert await asyncio.gather(*(each.find("at once", ME, "", str(each)) for each in (one, other))) == [None, None]


@pytest.mark.parametrize("text", ["garbage", "[1]", '["only one"]', "{}"])
async def test_malformed_key_entries_are_ignored(text: str) -> None:
    board = Board()
    board.read = lambda *_: asyncio.sleep(0, Shown(text, leased=True, cancelled=False))  # type: ignore[method-assign]
    board.agree = lambda *_: asyncio.sleep(0, text)  # type: ignore[method-assign]
    assert await processes(board)[1].find("key", ME, "asked", "id") is None


async def test_keys_of_one_client_do_not_evict_those_of_another() -> None:
    directory, repeats, _ = processes(None, most=5)
    ann, bob = (Caller(name, "", 1, 0, False) for name in ("ann", "bob"))
    directory.begun |= {"job b", *(f"job {number}" for number in range(20))}
    for caller, key in ((bob, "b"), *((ann, str(number)) for number in range(20))):
        assert await repeats.find(key, caller, "asked", f"job {key}") is None
    assert str(await repeats.find("b", bob, "asked", "again")) == "job b"
    found = [str(await repeats.find(str(number), ann, "asked", "again")) for number in range(19, 15, -1)]
    assert found == [f"job {number}" for number in range(19, 15, -1)]
    assert await repeats.find("15", ann, "asked", "again") is None
