"""Answers that are given before the body has arrived reach the client, also through a proxy, whatever its size."""

import hashlib
import json
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from prometheus_client import generate_latest

from tests import pictures
from tests.api.test_access import key
from tests.api.wire import SECONDS, connected, exchanged, received, statuses
from tests.cli import live
from tests.proxy import nginx
from tests.service_process import Process, fake_service

pytestmark = pytest.mark.server

MIB = 1024 * 1024
SIZES = [5, 20, 40]
KEYS = json.dumps(
    [
        {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "requests_per_minute": rate}
        for name, rate in (("often", 1_000_000), ("seldom", 1), ("slowly", 1))
    ]
)
IMAGE = {"Content-Type": "image/png", "X-API-Key": "often"}
PNG = pictures.png(pictures.gray())
REFUSALS = [
    ("unauthorized", 401, "", {"Content-Type": "image/png"}, SIZES),
    ("too-many-bytes", 413, "", IMAGE, [40]),
    ("unsupported-format", 415, "", IMAGE | {"Content-Type": "text/plain"}, SIZES),
    ("bad-parameter", 422, "?scale=9", IMAGE, SIZES),
    ("too-many-requests", 429, "", IMAGE | {"X-API-Key": "seldom"}, SIZES),
    ("queue-full", 503, "", IMAGE, [20]),
]
CASES = [
    pytest.param(slug, status, query, headers, mebibytes, id=f"{status}-{mebibytes}MiB")
    for slug, status, query, headers, sizes in REFUSALS
    for mebibytes in sizes
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """Holds so much of a body that does not go on that one of 20 MiB, which could fit, is refused while it arrives."""
    folder = tmp_path_factory.mktemp("service")
    patient = {"body_idle_seconds": "1000", "body_timeout_seconds": "4000"}
    with fake_service(folder, api_keys=KEYS, max_body_bytes_in_flight=str(20 * MIB), **patient) as process:
        httpx.post(f"{process.url}/upscale", content=PNG, headers=IMAGE | {"X-API-Key": "seldom"}).raise_for_status()
        with connected(process.url) as connection:
            lines = b"Host: x", b"Content-Type: image/png", b"X-API-Key: slowly", b"Content-Length: %d" % (16 * MIB)
            connection.sendall(b"POST /upscale HTTP/1.1\r\n" + b"\r\n".join(lines) + b"\r\n\r\n" + bytes(15 * MIB))
            yield process


@pytest.fixture(scope="module")
def proxy(service: Process, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """nginx as its manual shows it: HTTP/1.0 to the service, which closes after the answer."""
    with nginx(tmp_path_factory.mktemp("nginx"), f"location / {{ proxy_pass {service.url}; }}") as url:
        yield url


def posted(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
    """Status and problem, by a client that says `Connection: close` and sends everything before it reads."""
    request = urllib.request.Request(url, body, headers, method="POST")
    try:
        urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)["type"]
    raise AssertionError("not refused")


@pytest.mark.parametrize(("slug", "status", "query", "headers", "mebibytes"), CASES)
@pytest.mark.parametrize("way", ["direct", "proxy"])
def test_every_early_refusal_reaches_the_client(
    service: Process,
    request: pytest.FixtureRequest,
    way: str,
    slug: str,
    status: int,
    query: str,
    headers: dict[str, str],
    mebibytes: int,
) -> None:
    base = service.url if way == "direct" else request.getfixturevalue("proxy")
    body = bytes(mebibytes * MIB)
    answers = [posted(f"{base}/upscale{query}", body, headers) for _ in range(3)]
    assert answers == [(status, f"urn:lapsrn:problem:{slug}")] * 3


def test_early_refusals_while_draining_reach_the_client(tmp_path: Path) -> None:
    with (
        fake_service(tmp_path, "600", hang_seconds="1000") as service,
        nginx(tmp_path, f"location / {{ proxy_pass {service.url}; }}") as proxy,
    ):
        job = httpx.post(f"{service.url}/upscale", files={"image": PNG}, headers={"prefer": "respond-async"})
        assert job.status_code == 202
        service.signal(signal.SIGTERM)
        service.await_readiness("draining")
        for base in (service.url, proxy):
            for mebibytes in SIZES:
                answer = posted(f"{base}/upscale", bytes(mebibytes * MIB), {"Content-Type": "image/png"})
                assert answer == (503, "urn:lapsrn:problem:draining")


GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def head(*headers: bytes, version: bytes = b"1.1") -> bytes:
    """Of a request that is refused for want of a key."""
    lines = (b"POST /upscale HTTP/" + version, b"Host: x", b"Content-Type: image/png", *headers)
    return b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def test_a_connection_is_kept_open_if_little_of_the_body_is_left(service: Process) -> None:
    with connected(service.url) as connection:
        connection.sendall(head(b"Content-Length: 65536"))
        refused = connection.recv(65536)
        connection.sendall(bytes(65536) + GET)
        answers = refused + received(connection)
    assert statuses(answers) == [401, 200]
    assert b"connection: close" not in refused


@pytest.mark.parametrize("framing", [b"Content-Length: 65537", b"Transfer-Encoding: chunked"])
def test_a_connection_is_announced_to_close_if_much_of_the_body_is_left(service: Process, framing: bytes) -> None:
    """Otherwise Node's client stops sending, and its next request waits for this connection until it is closed."""
    answer = exchanged(service.url, head(framing))
    assert statuses(answer) == [401]
    assert b"\r\nconnection: close\r\n" in answer


def test_a_client_that_expects_100_continue_need_not_send_a_refused_body(service: Process) -> None:
    """Those of Apache, Go and Ruby then send their next request, which must not be read as the body."""
    answer = exchanged(service.url, head(b"Content-Length: 100", b"Expect: 100-continue"))
    assert statuses(answer) == [401]
    assert b"\r\nconnection: close\r\n" in answer


def test_a_client_that_expects_100_continue_and_sends_the_body_keeps_its_connection(service: Process) -> None:
    asked = head(b"Content-Length: %d" % len(PNG), b"Expect: 100-continue", b"X-API-Key: often")
    with connected(service.url) as connection:
        connection.sendall(asked)
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(PNG + GET)
        assert statuses(received(connection)) == [200, 200]


def test_http_1_0_gets_neither_100_continue_nor_chunks(service: Process) -> None:
    """A body of unknown length ends with the connection (RFC 9112, section 6.1)."""
    key = b"X-API-Key: often"
    asked = head(b"Content-Length: %d" % len(PNG), b"Expect: 100-continue", key, version=b"1.0")
    made = exchanged(service.url, asked + PNG)
    assert statuses(made) == [200]
    job = httpx.post(f"{service.url}/upscale", content=PNG, headers=IMAGE | {"Prefer": "respond-async"})
    lines = (b"GET %s/events HTTP/1.0" % job.headers["location"].encode(), key, b"", b"")
    headers, _, events = exchanged(service.url, b"\r\n".join(lines)).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in headers
    assert events.startswith(b"retry: 1000\n\nid: ")
    assert json.loads(events.rpartition(b"data: ")[2])["state"] == "done"


def test_reading_the_rest_of_refused_bodies_is_limited_per_client() -> None:
    """Through a proxy, a client that trickles bytes after its answers could otherwise occupy every connection."""
    keys = (key("ann", "ann"), key("bob", "bob"))
    with live.service(api_keys=keys) as (url, running), ExitStack() as connections:
        for name in (b"bob", *[b"ann"] * 70):
            connection = connections.enter_context(connected(url))
            connection.sendall(head(b"X-API-Key: " + name, b"Webhook-Url: x", b"Content-Length: 1000000") + b"x")
            assert connection.recv(12) == b"HTTP/1.1 422"
        end = time.monotonic() + SECONDS
        while b"\nlapsrn_connections 65.0\n" not in generate_latest(running.metrics.registry):
            assert time.monotonic() < end, "too many, or too few, are read on"
            time.sleep(0.01)


def test_reading_the_rest_of_a_refused_body_is_limited_in_time(tmp_path: Path) -> None:
    """The service does not wait for a client that stops in the middle of it."""
    head = b"POST /upscale HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 1000000000\r\n"
    with fake_service(tmp_path, body_idle_seconds="0.5", body_timeout_seconds="2") as service:
        for close in (b"", b"Connection: close\r\n"):
            with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
                connection.sendall(head + close + b"\r\n" + bytes(100))
                received = b""
                while piece := connection.recv(65536):
                    received += piece
                assert received.startswith(b"HTTP/1.1 415 ")
            with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
                connection.sendall(head + close + b"\r\n")
                with pytest.raises(OSError):  # one that never stops is cut off
                    while True:
                        connection.sendall(bytes(1000))
