"""Requests for an upgrade to an unsupported protocol are handled like any other, body included."""

import socket
from collections.abc import Callable, Iterator

import pytest

from tests import pictures
from tests.api.wire import connected, exchanged, received, statuses
from tests.cli.live import service

pytestmark = pytest.mark.server

PICTURE = pictures.png(pictures.gray())
HIDDEN = b"GET /model HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
Framed = Callable[[bytes], tuple[bytes, bytes]]
"""The header that says where a body ends, and the body as it is sent."""
UPGRADES = {
    "curl --http2, Java": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n",
    "WebSocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with service(keep_alive_seconds=1) as (url, _):
        yield url


@pytest.fixture(params=list(UPGRADES.values()), ids=list(UPGRADES))
def upgrade(request: pytest.FixtureRequest) -> bytes:
    asked: bytes = request.param
    return asked


def by_length(body: bytes) -> tuple[bytes, bytes]:
    return b"Content-Length: %d\r\n" % len(body), body


def chunked(body: bytes) -> tuple[bytes, bytes]:
    pieces = (body[start : start + 50] for start in range(0, len(body), 50))
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return b"Transfer-Encoding: chunked\r\n", chunks + b"0\r\nX-Trailer: y\r\n\r\n"


def post(*headers: bytes) -> bytes:
    return b"POST /upscale HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n" + b"".join(headers) + b"\r\n"


def await_continue(connection: socket.socket) -> None:
    """The service has read the headers, and asks for the body."""
    got = b""
    while not got.endswith(b"\r\n\r\n"):
        got += connection.recv(1)
    assert got == b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize("framed", [by_length, chunked])
@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
def test_the_body_of_an_upgrade_request_is_read(url: str, upgrade: bytes, framed: Framed, later: bool) -> None:
    framing, body = framed(PICTURE)
    with connected(url) as connection:
        if later:
            connection.sendall(post(upgrade, framing, b"Expect: 100-continue\r\n"))
            await_continue(connection)
            connection.sendall(body + LAST)
        else:
            connection.sendall(post(upgrade, framing) + body + LAST)
        answers = received(connection)
    assert statuses(answers) == [200, 200]
    assert answers.count(b"content-type: image/png\r\n") == 1


@pytest.mark.parametrize("framed", [by_length, chunked])
def test_the_body_of_an_upgrade_request_is_never_taken_for_the_next_request(
    url: str, upgrade: bytes, framed: Framed
) -> None:
    """Behind a proxy that reuses connections, its answer would go to another client."""
    framing, body = framed(HIDDEN)
    with connected(url) as connection:
        connection.sendall(post(upgrade, framing, b"Expect: 100-continue\r\n"))
        await_continue(connection)
        connection.sendall(body + LAST)
        assert statuses(received(connection)) == [415, 200]


@pytest.mark.parametrize("framed", [by_length, chunked])
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_an_upgrade_request_that_closes_the_connection_keeps_its_body(
    url: str, upgrade: bytes, framed: Framed, version: bytes
) -> None:
    framing, body = framed(PICTURE)
    head = post(upgrade, b"Connection: close\r\n", framing).replace(b"HTTP/1.1", b"HTTP/" + version)
    assert statuses(exchanged(url, head + body + LAST)) == [200]


def test_an_unused_body_of_an_upgrade_request_is_dropped(url: str, upgrade: bytes) -> None:
    framing, body = by_length(HIDDEN)
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + upgrade + framing + b"\r\n"
    assert statuses(exchanged(url, head, body, LAST)) == [200, 200]


def test_several_upgrade_requests_on_one_connection_are_all_answered(url: str, upgrade: bytes) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + upgrade + b"\r\n"
    assert statuses(exchanged(url, 3 * head + LAST)) == [200, 200, 200, 200]


def test_a_malformed_body_of_an_upgrade_request_is_refused(url: str, upgrade: bytes) -> None:
    framing = b"Transfer-Encoding: chunked\r\n"
    assert statuses(exchanged(url, post(upgrade, framing), b"zz\r\n")) == [400]
