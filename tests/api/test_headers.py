"""Addresses and headers have a limit, counted before they are parsed; what is refused is refused like anything else."""

import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import structlog
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from app.service.service import Service
from tests.api.wire import SECONDS, connected, exchanged, received, statuses
from tests.cli.live import service

pytestmark = pytest.mark.server

MODEL = b"GET /model HTTP/1.1\r\nHost: x\r\n"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[str, Service]]:
    with service(body_idle_seconds=0.5, header_timeout_seconds=2.0, keep_alive_seconds=1) as started:
        yield started


@pytest.fixture
def url(running: tuple[str, Service]) -> str:
    return running[0]


def problem(answer: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return found


def fields(count: int) -> bytes:
    return b"".join(b"X-%d: y\r\n" % number for number in range(count))


@pytest.mark.parametrize("sent", [b"", b"GET /mo", MODEL, MODEL + b"\r\n"])
def test_a_connection_is_counted_until_it_is_closed_whatever_was_sent(
    running: tuple[str, Service], sent: bytes
) -> None:
    url, service = running

    def until(count: bytes) -> None:
        end = time.monotonic() + SECONDS
        while b"\nlapsrn_connections %s\n" % count not in generate_latest(service.metrics.registry):
            assert time.monotonic() < end, "too many, or too few, are counted"
            time.sleep(0.01)

    until(b"0.0")
    with connected(url) as connection:
        connection.sendall(sent)
        until(b"1.0")
    until(b"0.0")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (MODEL + fields(99), 200),
        (MODEL + fields(100), 431),
        (MODEL + b"X: " + bytes([120]) * (65536 - len("/model" + "Host: x\r\n" + "X: \r\n")), 200),
        (MODEL + b"X: " + bytes([120]) * (65537 - len("/model" + "Host: x\r\n" + "X: \r\n")), 431),
        (b"GET /model?" + b"x=y&" * 99 + b" HTTP/1.1\r\nHost: x\r\n", 200),
        (b"GET /model?" + b"x=y&" * 100 + b" HTTP/1.1\r\nHost: x\r\n", 431),
        (b"GET /model?" + bytes([120]) * 65537 + b" HTTP/1.1\r\nHost: x\r\n", 431),
        (b"GET /model?" + bytes([120]) * 60000 + b" HTTP/1.1\r\nHost: x\r\nX: " + bytes([120]) * 6000, 431),
    ],
    ids=[
        "100 fields",
        "101 fields",
        "64 KiB",
        "a byte more",
        "100 &s less one",
        "100 &s",
        "the address",
        "both together",
    ],
)
def test_header_limits_are_exact(url: str, head: bytes, status: int) -> None:
    end = b"\r\n" if head.endswith(b"\r\n") else b"\r\n\r\n"
    assert statuses(exchanged(url, head + end)) == [status]


@pytest.mark.parametrize(
    "head",
    [
        MODEL + fields(60),
        b"GET /model?" + b"x=y&" * 60 + b" HTTP/1.1\r\nHost: x\r\n",
        MODEL + b"X: " + bytes([120]) * 40000 + b"\r\n",
    ],
    ids=["fields", "parameters", "bytes"],
)
def test_each_request_on_a_connection_is_counted_by_itself(url: str, head: bytes) -> None:
    with connected(url) as connection:
        for _ in range(3):
            connection.sendall(head + b"\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "piece",
    [bytes([120]) * 65536, fields(5000)],
    ids=["one long header", "many headers"],
)
def test_endless_headers_are_refused(url: str, piece: bytes) -> None:
    with connected(url) as connection:
        connection.sendall(MODEL + b"X-Long: ")
        for _ in range(40 * MIB // len(piece)):
            connection.sendall(piece)
        connection.sendall(b"\r\n\r\n")
        answer = received(connection)
    assert statuses(answer) == [431]
    assert problem(answer)["type"] == "urn:lapsrn:problem:headers-too-large"


def test_trailers_count_towards_the_header_limits(url: str) -> None:
    head = b"POST /upscale HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
    for trailer in (fields(100) + b"\r\n", b"X-Long: " + bytes([120]) * MIB):
        answer = exchanged(url, head + b"3\r\nabc\r\n0\r\n" + trailer)
        assert statuses(answer) == [431]


@pytest.mark.parametrize("upgrade", [b"", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"], ids=["plain", "upgrade"])
def test_trailers_are_not_taken_for_headers(url: str, upgrade: bytes) -> None:
    """HAProxy passes them on, so X-Forwarded-For in a trailer would let a client pose as any other."""
    head = b"POST /upscale HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nX-Request-Id: of-the-head\r\n" + upgrade
    trailers = b"X-Request-Id: of-the-trailer\r\nX-Forwarded-For: 192.0.2.1\r\nContent-Type: text/plain\r\n"
    body = b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n" + trailers + b"\r\n"
    answer = exchanged(url, head + body, MODEL + b"Connection: close\r\n\r\n")
    assert statuses(answer) == [415, 200]
    assert b"x-request-id: of-the-head\r\n" in answer


@pytest.mark.parametrize("codings", [b"gzip, chunked", b"identity\r\nTransfer-Encoding: chunked", b", chunked"])
def test_other_transfer_codings_than_chunked_are_refused(url: str, codings: bytes) -> None:
    """A proxy that knows the coding would disagree about where the next request begins."""
    head = b"POST /upscale HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: " + codings + b"\r\n\r\n"
    answer = exchanged(url, head + b"3\r\nabc\r\n0\r\n\r\n" + MODEL + b"Connection: close\r\n\r\n")
    assert statuses(answer) == [400]
    assert "Transfer-Encoding" in problem(answer)["detail"]


@pytest.mark.parametrize("coding", [b"chunked", b"\tChunked "])
def test_a_chunked_body_is_read(url: str, coding: bytes) -> None:
    head = b"POST /upscale HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:" + coding + b"\r\n\r\n"
    answer = exchanged(url, head + b"3\r\nabc\r\n0\r\n\r\n" + MODEL + b"Connection: close\r\n\r\n")
    assert statuses(answer) == [415, 200]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET /model HTTP/9.9\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (MODEL + b"no colon\r\n\r\n", 400),
        (
            b"POST /upscale HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            400,
        ),
        (MODEL + fields(101) + b"\r\n", 431),
    ],
    ids=["TLS", "HTTP/9.9", "HTTP/2", "no colon", "chunk size", "too many"],
)
def test_requests_refused_by_the_parser_get_problem_documents_and_log_lines(url: str, sent: bytes, status: int) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    with capture_logs() as logs:
        head, _, body = exchanged(url, sent).partition(b"\r\n\r\n")
        until = time.monotonic() + SECONDS
        while not logs:
            assert time.monotonic() < until, "nothing was logged"
            time.sleep(0.01)
    headers = dict(line.split(": ", 1) for line in head.decode().lower().splitlines()[1:])
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert json.loads(body)["request_id"] == headers["x-request-id"]
    (line,) = logs
    assert (line["status"], line["request_id"]) == (status, headers["x-request-id"])
    assert line["problem"] == ("headers-too-large" if status == 431 else "malformed-request")


def test_requests_refused_by_the_parser_are_counted(url: str) -> None:
    def count() -> float:
        lines = httpx.get(f"{url}/metrics").text.splitlines()
        name = 'lapsrn_http_requests_total{method="GET",route="unmatched",status="431"} '
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    before = count()
    exchanged(url, MODEL + fields(101) + b"\r\n")
    assert count() == before + 1


def test_pipelined_requests_are_answered_in_order(url: str) -> None:
    """A malformed request neither overtakes the one before it nor breaks it off."""
    slow = b"GET /model HTTP/1.1\r\nHost: x\r\n\r\n"
    assert statuses(exchanged(url, slow + b"no HTTP at all\r\n\r\n")) == [200, 400]
    assert statuses(exchanged(url, slow * 2 + MODEL + fields(101) + b"\r\n")) == [200, 200, 431]


def test_pipelined_requests_on_one_connection_are_limited(url: str) -> None:
    assert statuses(exchanged(url, (MODEL + b"\r\n") * 5000)) == [200] * 17 + [503]


def test_a_stray_line_end_does_not_keep_a_connection_open(url: str) -> None:
    with connected(url) as connection:
        connection.sendall(MODEL + b"\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        for _ in range(65):
            connection.sendall(b"\r\n" * 512)
        assert statuses(received(connection)) in ([], [431])


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n", 400),
        (b"GET /healthz HTTP/1.0\r\nHost: a\r\nHost: a\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost:\r\n", 200),
        (b"GET /healthz HTTP/1.0\r\n", 200),
    ],
)
def test_a_request_must_have_exactly_one_host(url: str, head: bytes, status: int) -> None:
    """With two, a proxy, a cache and a server may each use a different one."""
    assert statuses(exchanged(url, head + b"\r\n")) == [status]


def test_a_request_that_arrives_in_pieces_is_not_timed_out(url: str) -> None:
    """The keep-alive timeout ends with a request's first byte, even if that came during the request before it."""
    with connected(url) as connection:
        connection.sendall(MODEL + b"\r\n" + b"GET /healthz HTT")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"P/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
