"""One client, ann, takes all that she can get; another one, bob, still gets his picture meanwhile.

Each test is over a real server. What ann holds she still holds when bob has been served.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import httpx
import numpy as np
import pytest
from redis import Redis

from app.codec import Codec, Decoded
from app.service.service import Service
from bench.redis_server import RedisServer
from tests import pictures
from tests.api.test_access import key
from tests.cli.live import service
from tests.fake_service import SlowModel

pytestmark = pytest.mark.server

SECONDS = 60.0
KEYS = (key("ann", "ann"), key("bob", "bob"))
SMALL = pictures.png(pictures.rgb(64, 64))
RAW = {"Content-Type": "image/png"}
JOB = RAW | {"Prefer": "respond-async"}


def flat(side: int) -> bytes:
    """A gray picture of one colour: a few bytes for many pixels."""
    return pictures.png(np.full((side, side), 128, np.uint8))


class Client(httpx.Client):
    """A client of the service with a key of its own."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(base_url=url, headers={"X-API-Key": name}, timeout=SECONDS)

    def upscale(self, body: bytes = SMALL, query: str = "") -> httpx.Response:
        return self.post(f"/upscale{query}", content=body, headers=RAW)

    def job(self, body: bytes = SMALL, query: str = "") -> httpx.Response:
        return self.post(f"/upscale{query}", content=body, headers=JOB)

    def state(self, job: httpx.Response) -> dict[str, Any]:
        document: dict[str, Any] = self.get(job.headers["location"]).json()
        return document

    def fetched(self, picture: httpx.Response) -> int:
        return self.get("/upscale", params={"level": 4, "id": picture.headers["x-upscale-id"]}).status_code


class HeldModel(SlowModel):
    """Begins when the test says so, and is slow then."""

    def __init__(self, go: threading.Event) -> None:
        super().__init__(0.01)
        self._go = go

    def run(self, *arguments: Any, **named: Any) -> dict[int, Any]:
        assert self._go.wait(SECONDS)
        return super().run(*arguments, **named)


@contextmanager
def two_clients(models: Any = None, **settings: Any) -> Iterator[tuple[Client, Client, Service]]:
    """Ann, bob, and the service."""
    with service(models or [lambda: SlowModel(0.0)], api_keys=KEYS, **settings) as (url, running), ExitStack() as stack:
        ann, bob = (stack.enter_context(Client(url, name)) for name in ("ann", "bob"))
        yield ann, bob, running


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "what the test waits for did not happen"
        time.sleep(0.01)


def admitted(client: Client, job: httpx.Response) -> None:
    """Waits until the engine has taken a job, or has not."""
    until(lambda: client.state(job)["progress"]["total"] or client.state(job)["error"])
    assert not client.state(job)["error"]


def refused(answer: httpx.Response, status: int, says: str) -> None:
    slug = {429: "too-many-requests", 503: "queue-full"}[status]
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:lapsrn:problem:{slug}")
    assert int(answer.headers["retry-after"]) >= 1
    assert says in answer.json()["detail"]


def rejections(client: Client, reason: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return next(
        float(line.split()[-1]) for line in lines if line.startswith(f'lapsrn_rejected_total{{reason="{reason}"')
    )


def test_one_client_fills_the_queue_of_tiles_and_another_is_served() -> None:
    """4 KB of a flat picture are 8,192 tiles, which is all that the queue has by default."""
    go = threading.Event()
    with two_clients([lambda: HeldModel(go)]) as (ann, bob, running):
        large = ann.job(flat(2048), "?ensemble=true")
        until(lambda: running.engine.scheduler.requests)
        assert running.engine.status().queue_tiles + running.engine.scheduler.in_flight == 8192
        refused(ann.upscale(), 503, "try again in")
        first, second = bob.job(), bob.job(flat(2048))
        admitted(bob, first)
        admitted(bob, second)
        refused(ann.upscale(), 429, "your share while other clients are here")
        go.set()
        until(lambda: bob.state(first)["state"] == "done")
        assert (ann.state(large)["state"], bob.state(second)["state"]) == ("running", "running")
        assert (rejections(ann, "queue-full"), rejections(ann, "too-many-requests")) == (1.0, 1.0)
        for client, job in ((ann, large), (bob, second)):
            client.delete(job.headers["location"])


def test_one_client_fills_the_memory_for_pictures_and_another_is_served() -> None:
    go, large = threading.Event(), list[httpx.Response]()
    with two_clients([lambda: HeldModel(go)], max_queue_bytes=1 << 26) as (ann, bob, running):

        def refusal() -> Any:
            return ann.state(large[-1])["error"]

        while not large or not refusal():
            large.append(ann.job(flat(256)))
            until(lambda: refusal() or ann.state(large[-1])["progress"]["total"])
        assert refusal()["type"] == "urn:lapsrn:problem:queue-full"
        held, one = running.pictures.held_bytes, running.pictures.held_bytes // (len(large) - 1)
        assert one < (1 << 26) - held, "what is kept back is enough for a picture"
        refused(ann.upscale(flat(256)), 503, "are taken")
        second = bob.job(flat(256))
        admitted(bob, second)
        refused(ann.upscale(flat(256)), 429, "your pictures in progress have")
        go.set()
        until(lambda: bob.state(second)["state"] == "done")
        assert all(ann.state(job)["state"] in ("queued", "running", "done") for job in large[:-1])


def test_one_client_fills_the_upload_budget_and_another_is_served() -> None:
    piece, head = bytes(64 * 1024), "POST /upscale HTTP/1.1\r\nHost: x\r\nX-API-Key: ann\r\nContent-Type: image/png\r\n"
    limits = {"max_body_bytes_in_flight": 64 * len(piece), "body_idle_seconds": 600.0, "body_timeout_seconds": 600.0}
    with two_clients(client_max_concurrent=65, **limits) as (ann, bob, running), ExitStack() as stalled:
        for _ in range(64):
            connection = stalled.enter_context(socket.create_connection((ann.base_url.host, ann.base_url.port or 80)))
            connection.sendall(f"{head}Content-Length: 1000000\r\n\r\n".encode() + piece)
        until(lambda: running.uploads.held_bytes == 64 * len(piece))
        refused(ann.upscale(), 503, "Too many uploads")
        assert bob.upscale().status_code == 200
        assert running.uploads.held_bytes == 64 * len(piece)
        bobs = stalled.enter_context(socket.create_connection((ann.base_url.host, ann.base_url.port or 80)))
        bobs.sendall(f"{head.replace('ann', 'bob')}Content-Length: 1000000\r\n\r\n".encode() + piece)
        until(lambda: running.uploads.held_bytes == 65 * len(piece))
        refused(ann.upscale(), 429, "your share while other clients are here")


def test_one_client_fills_the_table_of_jobs_and_another_is_served() -> None:
    with two_clients(max_jobs=100, client_max_concurrent=200) as (ann, bob, _):
        jobs = [ann.job() for _ in range(100)]
        refused(ann.job(), 503, "100 jobs are remembered")
        bobs = bob.job()
        assert bobs.status_code == 202
        until(lambda: bob.state(bobs)["state"] == "done")
        assert bob.fetched(bobs) == 200
        refused(ann.job(), 429, "DELETE those that you have fetched")
        assert all(ann.get(job.headers["location"]).status_code == 200 for job in jobs)
        for job in jobs[:3]:
            ann.delete(job.headers["location"])
        assert ann.job().status_code == 202


def test_jobs_that_have_ended_make_room_for_a_client_with_fewer() -> None:
    with two_clients(max_jobs=8, client_max_concurrent=200) as (ann, bob, _):
        jobs = [ann.job() for _ in range(8)]
        until(lambda: all(ann.state(job)["state"] == "done" for job in jobs))
        assert [bob.job().status_code for _ in range(4)] == [202] * 4
        refused(bob.job(), 503, "9 jobs are remembered")
        assert sorted(ann.get(job.headers["location"]).status_code for job in jobs) == [200] * 5 + [404] * 3
        assert {ann.fetched(job) for job in jobs} == {200}, "only the jobs are forgotten, not their results"


@pytest.mark.parametrize("redis", [False, True])
def test_results_of_one_client_evict_its_own_and_not_those_of_another(
    redis: bool, request: pytest.FixtureRequest
) -> None:
    where: dict[str, Any] = {}
    if redis:
        server: RedisServer = request.getfixturevalue("redis_server")
        where["redis_url"] = server.url
        with Redis.from_url(server.url) as store:
            store.flushall()
    with two_clients(**where) as (ann, bob, running):
        bob.upscale()
        until(lambda: running.store.size_bytes)
        size = running.store.size_bytes
        bob.delete("/upscale")
    with two_clients(result_max_bytes=4 * size, **where) as (ann, bob, running):
        kept = bob.upscale()
        made = [ann.upscale() for _ in range(5)]
        assert bob.fetched(kept) == 200
        assert [ann.fetched(each) for each in made] == [404, 404, 200, 200, 200]
        for client in (ann, bob):
            client.delete("/upscale")


def test_slow_decoding_for_one_client_does_not_delay_another() -> None:
    """They take every thread that one client may have, and queue up for more, small ones and large ones."""
    go, held = threading.Event(), threading.Semaphore(0)
    decode = Codec.decode
    noise = np.random.default_rng(0).integers(0, 256, (300, 300), np.uint8)  # a large one, by its bytes
    mine, hers = ([pictures.png(pixels) for pixels in (noise[:32, :wide], noise[:, :-wide])] for wide in (1, 2))

    def slow(codec: Codec, data: bytes, *arguments: Any) -> Decoded:
        if data in hers:
            held.release()
            go.wait(SECONDS)
        return decode(codec, data, *arguments)

    with mock.patch.object(Codec, "decode", slow), two_clients(codec_threads=1) as (ann, bob, running):
        jobs = [ann.job(body) for body in hers * 8]
        try:
            for _ in range(3):
                assert held.acquire(timeout=SECONDS)
            for body in mine:
                assert bob.upscale(body).status_code == 200
            assert not held.acquire(blocking=False), "one thread of each kind is for others"
            assert {ann.state(job)["state"] for job in jobs} == {"queued"}
        finally:
            go.set()
        until(lambda: {ann.state(job)["state"] for job in jobs} == {"done"})
        assert running.jobs.under_way == 0
