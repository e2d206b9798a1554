"""Answers that nobody reads, and connections that do nothing: both are counted, bounded and given up."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import numpy as np
import pytest

from app.results.redis import RedisStore
from app.service import transfers
from app.service.service import Service
from bench.redis_server import RedisServer
from tests import pictures
from tests.api.test_access import key
from tests.api.wire import SECONDS, exchanged, received, statuses
from tests.cli.live import service
from tests.service_process import fake_service, free_port

pytestmark = pytest.mark.server

NOISE = pictures.png(np.random.default_rng(0).integers(0, 256, (600, 600, 3), np.uint8))
"""Its result has far more bytes than the system takes for a client that does not read."""
KEYS = (key("ann", "ann"), key("bob", "bob"))
GET = "GET /upscale?level=4&id={id} HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nConnection: close\r\n\r\n"
POST = (
    "POST /upscale?format=tiff HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Type: image/png\r\n"
    f"Content-Length: {len(NOISE)}\r\n\r\n"
)


@contextmanager
def unread(url: str, head: str, body: bytes = b"", status: int = 200, **values: str) -> Iterator[socket.socket]:
    """A request whose answer has begun and is left in the buffers, which are small on this side."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(SECONDS)
        connection.connect(("127.0.0.1", int(url.rsplit(":", 1)[1])))
        connection.sendall(head.format(**values).encode() + body)
        assert connection.recv(13, socket.MSG_PEEK) == b"HTTP/1.1 %d " % status
        yield connection


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "what the test waits for did not happen"
        time.sleep(0.01)


def made(url: str, name: str = "ann") -> tuple[str, int]:
    """A result of this client: its id, and how many bytes it has."""
    answer = httpx.post(f"{url}/upscale?format=tiff", content=NOISE, headers={"X-API-Key": name} | RAW, timeout=60)
    return answer.headers["x-upscale-id"], len(answer.content)


RAW = {"Content-Type": "image/png"}


def fetched(url: str, result_id: str, name: str = "ann") -> httpx.Response:
    return httpx.get(f"{url}/upscale", params={"level": 4, "id": result_id}, headers={"X-API-Key": name})


def metric(url: str, name: str) -> float:
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return next(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{name} "))


def at_rest(running: Service) -> bool:
    return (running.fetches.under_way(), running.quota.under_way(), running.responses.held_bytes) == (0, 0, 0)


def test_a_response_that_is_not_read_is_given_up() -> None:
    with service(write_idle_seconds=0.5, api_keys=KEYS) as (url, running):
        result_id, size = made(url)
        for head, body in ((GET, b""), (POST, NOISE)):
            with unread(url, head, body, id=result_id, key="ann") as connection:
                until(lambda: not at_rest(running))
                until(lambda: at_rest(running))
                with pytest.raises(ConnectionResetError):  # and not what looks like the end of a picture
                    received(connection)
        assert metric(url, 'lapsrn_connections_dropped_total{reason="unread"}') == 2.0
        assert size > 4_000_000


def test_a_response_that_is_read_late_is_complete() -> None:
    with service(api_keys=KEYS) as (url, running):
        result_id, size = made(url)
        with unread(url, GET, id=result_id, key="ann") as connection:
            until(lambda: running.responses.held_bytes == size)
            body = received(connection).partition(b"\r\n\r\n")[2]
        assert len(body) == size
        until(lambda: at_rest(running))


def test_concurrent_fetches_of_one_client_are_limited() -> None:
    with service(client_max_fetches=2, api_keys=KEYS) as (url, running), ExitStack() as open_answers:
        ann, _ = made(url)
        bob, _ = made(url, "bob")
        for _ in range(2):
            open_answers.enter_context(unread(url, GET, id=ann, key="ann"))
        assert running.fetches.under_way() == 2
        refused = fetched(url, ann)
        assert (refused.status_code, refused.json()["type"]) == (429, "urn:lapsrn:problem:too-many-requests")
        assert refused.headers["retry-after"] == "1"
        for path in ("/jobs/any", "/jobs/any/events"):
            assert httpx.get(url + path, headers={"X-API-Key": "ann"}).status_code == 429
        assert fetched(url, bob, "bob").status_code == 200
        open_answers.close()
        until(lambda: at_rest(running))
        assert fetched(url, ann).status_code == 200


def test_an_upscale_counts_as_under_way_until_its_response_is_read() -> None:
    with service(client_max_concurrent=1, api_keys=KEYS) as (url, running):
        with unread(url, POST, NOISE, key="ann"):
            until(lambda: running.responses.held_bytes)
            assert httpx.post(f"{url}/upscale", content=NOISE, headers=RAW | {"X-API-Key": "ann"}).status_code == 429
        until(lambda: at_rest(running))
        made(url)


def test_responses_share_a_budget_of_which_one_client_may_hold_half() -> None:
    with service(api_keys=KEYS, max_answer_bytes_in_flight=1) as (url, running):
        ann, size = made(url)
        bob, _ = made(url, "bob")
        with unread(url, GET, id=ann, key="ann"):
            until(lambda: running.responses.held_bytes == size)
            own, other = fetched(url, ann), fetched(url, bob, "bob")
            assert (own.status_code, own.json()["type"]) == (429, "urn:lapsrn:problem:too-many-requests")
            assert (other.status_code, other.json()["type"]) == (503, "urn:lapsrn:problem:queue-full")
            assert {answer.headers["retry-after"] for answer in (own, other)} == {"2", "5"}
            late = httpx.post(f"{url}/upscale", content=NOISE, headers=RAW | {"X-API-Key": "bob"})
            assert late.status_code == 503, "no work is begun whose result could not be sent"
        until(lambda: at_rest(running))
        assert fetched(url, bob, "bob").status_code == 200


def test_a_slowly_read_response_is_cut_off_when_another_client_needs_its_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transfers, "_GRACE_SECONDS", 0.0)
    with service(api_keys=KEYS, max_answer_bytes_in_flight=1, write_timeout_seconds=1e-6) as (url, running):
        ann, size = made(url)
        bob, _ = made(url, "bob")
        with unread(url, GET, id=ann, key="ann") as connection:
            until(lambda: running.responses.held_bytes == size)
            assert fetched(url, ann).status_code == 429
            assert fetched(url, bob, "bob").status_code == 200
            with pytest.raises(ConnectionResetError):
                received(connection)
        assert metric(url, 'lapsrn_connections_dropped_total{reason="slow"}') == 1.0
        until(lambda: at_rest(running))


def test_a_part_counts_with_the_whole_picture_that_it_keeps_in_memory() -> None:
    """Otherwise a client could ask for small parts of large pictures, leave them unread, and exhaust the memory."""
    part = 6_000_000
    head = GET.replace("Connection", f"Range: bytes=0-{part - 1}\r\nConnection")
    with service(api_keys=KEYS) as (url, running):
        result_id, size = made(url)
        with unread(url, head, status=206, id=result_id, key="ann") as connection:
            until(lambda: running.responses.held_bytes == size)
            body = received(connection).partition(b"\r\n\r\n")[2]
        assert len(body) == part < size // 2
        until(lambda: at_rest(running))


def test_bytes_being_read_from_redis_count_towards_the_budget(redis_server: RedisServer) -> None:
    """A fetch takes memory before its answer does, and a client may have many."""
    go = threading.Event()
    read, sizes = RedisStore.get, list[int]()

    async def slow(store: RedisStore, result_id: str, owner: str, level: int, count: Callable[[int], None]) -> Any:
        def counted(size: int) -> None:
            count(size)
            sizes.append(size)

        picture = await read(store, result_id, owner, level, counted)
        await asyncio.to_thread(go.wait, SECONDS)
        return picture

    with service(api_keys=KEYS, redis_url=redis_server.url, max_answer_bytes_in_flight=8_000_000) as (url, running):
        ann, size = made(url)
        with mock.patch.object(RedisStore, "get", slow), ThreadPoolExecutor() as threads:
            first = threads.submit(fetched, url, ann)
            until(lambda: sizes)
            assert size <= running.responses.held_bytes < size + 2**17
            second = fetched(url, ann)
            go.set()
            assert (first.result().status_code, second.status_code) == (200, 429)
        until(lambda: at_rest(running))


def test_event_streams_of_one_client_are_limited(tmp_path: Path) -> None:
    with fake_service(tmp_path, "600", hang_seconds="1000", client_max_fetches="2") as running:
        job = httpx.post(f"{running.url}/upscale", content=NOISE, headers=RAW | {"Prefer": "respond-async"})
        events = f"{running.url}{job.headers['location']}/events"
        with httpx.stream("GET", events) as first, httpx.stream("GET", events) as second:
            assert (first.status_code, second.status_code) == (200, 200)
            assert httpx.get(events).status_code == 429


def test_connections_of_one_client_are_limited_but_not_those_of_a_proxy(tmp_path: Path) -> None:
    for proxies, refused in (("192.0.2.1", True), ("127.0.0.1", False)):
        settings = {"client_max_connections": "3", "forwarded_allow_ips": proxies, "keep_alive_seconds": "60"}
        with fake_service(tmp_path, **settings) as running, ExitStack() as idle:
            clients = [idle.enter_context(httpx.Client(base_url=running.url)) for _ in range(4)]
            for client in clients[:3]:
                assert client.get("/model").status_code == 200
            if refused:
                with pytest.raises(httpx.TransportError):
                    clients[3].get("/model")
                assert clients[0].get("/model").status_code == 200
                clients[1].close()
            assert clients[3].get("/model").status_code == 200


def test_probes_are_answered_when_all_connections_are_taken(tmp_path: Path) -> None:
    metrics = free_port()
    settings = {"max_connections": "2", "metrics_port": str(metrics), "keep_alive_seconds": "60"}
    with fake_service(tmp_path, **settings) as running, ExitStack() as idle:
        for _ in range(2):
            assert idle.enter_context(httpx.Client(base_url=running.url)).get("/model").status_code == 200
        for path in ("/healthz", "/readyz"):
            probe = httpx.get(running.url + path)
            assert (probe.status_code, probe.headers["connection"]) == (200, "close")
        refused = httpx.get(f"{running.url}/model")
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:lapsrn:problem:queue-full")
        assert refused.headers["retry-after"] == "2"
        crowd = [idle.enter_context(socket.create_connection(("127.0.0.1", running.port))) for _ in range(40)]
        assert httpx.get(f"http://127.0.0.1:{metrics}/healthz").status_code == 200
        assert metric(f"http://127.0.0.1:{metrics}", 'lapsrn_connections_dropped_total{reason="too-many"}') >= 8.0
        assert metric(f"http://127.0.0.1:{metrics}", "lapsrn_connections") == 34.0
        assert crowd


def test_clients_at_a_few_addresses_keep_nobody_out(tmp_path: Path) -> None:
    with fake_service(tmp_path, max_connections="6", keep_alive_seconds="60") as running, ExitStack() as opened:

        def is_answered(connection: socket.socket) -> bool:
            connection.sendall(b"HEAD /model HTTP/1.1\r\nHost: x\r\n\r\n")
            return statuses(connection.recv(65536)) == [200]

        def connected_from(address: str) -> socket.socket:
            place = ("127.0.0.1", running.port)
            connection = opened.enter_context(socket.create_connection(place, SECONDS, (address, 0)))
            assert is_answered(connection)
            return connection

        oldest, *others = [connected_from(address) for address in ["127.0.0.2"] * 4 + ["127.0.0.3"] * 2]
        others.append(connected_from("127.0.0.4"))
        with pytest.raises(ConnectionResetError):
            oldest.recv(1)
        assert all(map(is_answered, others))


def test_the_metrics_port_has_the_same_limits(tmp_path: Path) -> None:
    metrics = free_port()
    with fake_service(tmp_path, metrics_port=str(metrics)):
        fields = b"".join(b"X-%d: y\r\n" % number for number in range(101))
        answer = exchanged(f"http://127.0.0.1:{metrics}", b"GET /healthz HTTP/1.1\r\n" + fields + b"\r\n")
        assert statuses(answer) == [431]
        assert _problem(answer)["type"] == "urn:lapsrn:problem:headers-too-large"


def _problem(answer: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return found
