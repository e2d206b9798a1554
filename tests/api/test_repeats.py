"""Idempotency-Key: one job for a request that is sent again, also to another process."""

import asyncio
from collections.abc import Sequence

import httpx
import pytest

from app.errors import BadParameter
from app.options import UpscaleOptions
from app.results import Shown
from app.service.caller import Caller
from app.service.jobs import Job
from app.service.pipeline import Order
from app.service.repeats import Repeats, fingerprint
from app.service.stages import Stages
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


async def test_the_same_key_is_the_same_job(client: httpx.AsyncClient) -> None:
    first, again = await begin(client, "a"), await begin(client, "a")
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"]
    assert first.headers["Location"] == again.headers["Location"]
    assert first.headers["X-Upscale-Id"] == again.headers["X-Upscale-Id"]


async def test_several_at_once_are_one_job(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(begin(client, "at-once") for _ in range(5)))
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_other_keys_and_none_are_jobs_of_their_own(client: httpx.AsyncClient) -> None:
    answers = [await begin(client, key) for key in ("a", "b", None, None)]
    assert len({answer.json()["id"] for answer in answers}) == 4


@pytest.mark.parametrize(("query", "body"), [("?scale=2", FILE), ("", OTHER), ("?format=webp", FILE)])
async def test_a_key_for_something_else_is_422(client: httpx.AsyncClient, query: str, body: bytes) -> None:
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
async def test_no_key_and_a_long_one_are_422(client: httpx.AsyncClient, key: str) -> None:
    answer = await begin(client, key)
    assert answer.status_code == 422
    assert "idempotency" in answer.json()["detail"].lower()


async def test_keys_are_a_clients_own(serve: Running) -> None:
    import hashlib

    keys = tuple({"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest()} for name in ("one", "two"))
    async with serve(api_keys=keys) as client:
        ids = {(await begin(client, "same", api_key=name)).json()["id"] for name in ("one", "two")}
    assert len(ids) == 2


class Board:
    """Two processes' common board, without leases."""

    lease_seconds = watched_seconds = 10.0

    def __init__(self) -> None:
        self.shown: dict[tuple[str, str], str] = {}

    async def show(self, job_id: str, owner: str, document: str) -> bool:
        self.shown[job_id, owner] = document
        return False

    async def read(self, job_id: str, owner: str) -> Shown:
        return Shown(self.shown.get((job_id, owner)), leased=True, cancelled=False)

    async def cancel(self, job_id: str, owner: str) -> bool:
        return False

    async def cancelled(self, jobs: Sequence[tuple[str, str]]) -> Sequence[bool]:
        return [False for _ in jobs]


class Directory:
    """Finds every job."""

    async def find(self, job_id: str, owner: str) -> str:
        return job_id


async def test_another_process_finds_it_on_the_board() -> None:
    board, me = Board(), Caller("me", "owner", 1, 0, False)
    one, other = (Repeats(Directory(), board, 10) for _ in range(2))  # type: ignore[arg-type]
    order = Order(UpscaleOptions(), "me", "owner", "the id", "", None)
    asked = fingerprint(order, FILE)
    assert await one.find("key", me, asked) is None
    await one.remember("key", me, asked, Job(order, Stages(lambda stage, seconds: None)))
    assert str(await other.find("key", me, asked)) == "the id"
    with pytest.raises(BadParameter):
        await other.find("key", me, fingerprint(order, OTHER))
    assert await other.find("another", me, asked) is None
    assert "key" not in str(board.shown)


@pytest.mark.parametrize("text", ["garbage", "[1]", '["only one"]', "{}"])
async def test_what_is_no_key_on_the_board_is_as_none(text: str) -> None:
    board, me = Board(), Caller("me", "owner", 1, 0, False)
    board.read = lambda *_: asyncio.sleep(0, Shown(text, leased=True, cancelled=False))  # type: ignore[method-assign]
    assert await Repeats(Directory(), board, 10).find("key", me, "asked") is None  # type: ignore[arg-type]


async def test_one_client_s_keys_do_not_make_another_s_forgotten() -> None:
    repeats = Repeats(Directory(), None, 5)  # type: ignore[arg-type]
    ann, bob = (Caller(name, "", 1, 0, False) for name in ("ann", "bob"))

    async def remember(caller: Caller, key: str) -> None:
        order = Order(UpscaleOptions(), caller.name, "", f"job {key}", "", None)
        await repeats.remember(key, caller, "asked", Job(order, Stages(lambda stage, seconds: None)))

    await remember(bob, "b")
    for number in range(20):
        await remember(ann, str(number))
    assert str(await repeats.find("b", bob, "asked")) == "job b"
    found = [str(await repeats.find(str(number), ann, "asked")) for number in range(20)]
    assert found == ["None"] * 16 + [f"job {number}" for number in range(16, 20)]
