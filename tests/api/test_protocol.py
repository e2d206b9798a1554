"""One connection, with a transport and a clock of the test's own: its time limits, and what is left when it is lost."""

import asyncio
import functools
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from app.api.connections import Connections
from app.api.protocol import BoundedProtocol
from app.api.server import bounded_protocol
from app.settings import Settings
from tests.api.test_transport import Clock
from tests.api.transport import Transport
from tests.api.wire import statuses

HEADERS, IDLE, WHOLE, KEEP = 20.0, 30.0, 100.0, 10
"""The timeouts in seconds: for headers, for a pause in a body, for a whole body, and between two requests."""


class Wire(Transport):
    """Keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    @property
    def statuses(self) -> list[int]:
        return statuses(self.written)

    def write(self, data: Any) -> None:
        self.written += data

    def write_eof(self) -> None: ...

    def can_write_eof(self) -> bool:
        return True


class Time(Clock):
    """The event loop of a connection, whose timers wait for the test."""

    def create_task(self, work: Any) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(work)


async def _application(scope: Any, receive: Any, send: Any) -> None:
    """Answers requests for /now without reading their bodies, others once the bodies have arrived.

    Requests for /wait are answered when the client is gone, so never; answers to those for /stream have no length.
    """
    path = scope["path"]
    while path != "/now":
        message = await receive()
        if message["type"] == "http.disconnect" or (path != "/wait" and not message["more_body"]):
            break
    headers = [] if path == "/stream" else [(b"content-length", b"1")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"x"})


def _port(**named: Any) -> Callable[[], BoundedProtocol]:
    settings = Settings(header_timeout_seconds=HEADERS, body_idle_seconds=IDLE, body_timeout_seconds=WHOLE)
    return functools.partial(
        bounded_protocol(settings, Connections(100, 100)),
        config=Config(_application, ws="none", timeout_keep_alive=KEEP),
        server_state=ServerState(),
        app_state={},
        **named,
    )


def _head(request: str, *headers: str, version: str = "1.1") -> bytes:
    return "\r\n".join((f"{request} HTTP/{version}", "Host: x", *headers, "", "")).encode()


async def _passes() -> None:
    """Lets the application do what it can."""
    for _ in range(10):
        await asyncio.sleep(0)


class Client:
    """Sends to a connection, and lets its time pass."""

    def __init__(self) -> None:
        self.wire, self.time = Wire(), Time()
        self._protocol = _port(_loop=self.time)()
        self._protocol.connection_made(self.wire)

    @property
    def awaited(self) -> bool:
        return self._protocol.awaited

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._protocol.data_received(piece)
            await _passes()

    def is_open_for(self, seconds: float) -> bool:
        """Whether it is open until then, and closed a moment later."""
        self.time.pass_by(seconds - 0.1)
        was_open = not self.wire.closing
        self.time.pass_by(0.2)
        return was_open and self.wire.closing


async def test_a_connection_without_a_request_is_closed_after_the_timeout_for_headers() -> None:
    assert Client().is_open_for(HEADERS)


async def test_a_head_that_arrives_slowly_does_not_extend_its_timeout() -> None:
    client = Client()
    for piece in (b"GET", b" /now HTTP/1.1\r\n", b"Host"):
        client.time.pass_by(5.0)
        await client.send(piece)
    assert client.is_open_for(HEADERS - 15.0)
    assert client.wire.statuses == []


async def test_an_idle_connection_is_closed_after_the_timeout_between_requests() -> None:
    client = Client()
    for _ in range(3):
        await client.send(_head("GET /now"))
        client.time.pass_by(KEEP - 1.0)
    assert client.wire.statuses == [200] * 3
    assert client.is_open_for(1.0)


@pytest.mark.parametrize("path", ["now", "body"])
async def test_the_timeout_for_headers_begins_with_the_first_byte_of_a_further_request(path: str) -> None:
    client = Client()
    await client.send(_head(f"GET /{path}"))
    client.time.pass_by(KEEP - 1.0)
    await client.send(b"GET")
    assert client.is_open_for(HEADERS)


async def test_the_time_limits_of_headers_end_with_them() -> None:
    """A body, and the work on it, may take longer."""
    client = Client()
    await client.send(_head("POST /body", "Content-Length: 10"))
    client.time.pass_by(5 * HEADERS)
    await client.send(bytes(10))
    assert client.wire.statuses == [200]
    assert client.is_open_for(KEEP)


async def test_a_request_that_follows_before_the_answer_to_the_last_one_is_not_closed_as_idle() -> None:
    client = Client()
    await client.send(_head("GET /body") + b"GET /now HTTP/1.1\r\n")
    assert client.wire.statuses == [200]
    assert client.is_open_for(HEADERS)


@pytest.mark.parametrize(
    ("sent", "awaited"),
    [
        (b"", False),
        (b"GET /wait HTTP/1.1\r\n", False),
        (_head("GET /wait"), True),
        (_head("GET /now"), False),
        (_head("POST /wait", "Content-Length: 2") + b"x", False),
        (_head("POST /wait", "Content-Length: 2") + b"xx", True),
    ],
)
async def test_a_connection_is_awaited_from_the_end_of_a_request_to_its_answer(sent: bytes, awaited: bool) -> None:
    client = Client()
    if sent:
        await client.send(sent)
    assert client.awaited is awaited


LITTLE = "Content-Length: 1000"
MUCH = "Content-Length: 1000000"


@pytest.mark.parametrize("length", [LITTLE, MUCH], ids=["kept open", "half closed"])
async def test_the_rest_of_an_answered_requests_body_may_pause_for_the_limit_of_a_body(length: str) -> None:
    client = Client()
    await client.send(_head("POST /now", length))
    assert client.wire.statuses == [200]
    for _ in range(2):
        client.time.pass_by(IDLE - 1.0)
        await client.send(bytes(10))
    assert client.is_open_for(IDLE)


@pytest.mark.parametrize("length", [LITTLE, MUCH], ids=["kept open", "half closed"])
async def test_the_rest_of_an_answered_requests_body_has_the_time_of_a_whole_body(length: str) -> None:
    client = Client()
    await client.send(_head("POST /now", length))
    for _ in range(9):
        client.time.pass_by(10.0)
        await client.send(bytes(10))
    assert client.is_open_for(WHOLE - 90.0)


async def test_reading_goes_on_after_an_answer_that_came_while_much_of_the_body_was_waiting() -> None:
    client = Client()
    await client.send(_head("POST /now", MUCH) + bytes(100_000))
    assert client.wire.statuses == [200]
    assert client.wire.reading


async def test_after_the_rest_of_a_body_the_connection_is_idle() -> None:
    client = Client()
    await client.send(_head("POST /now", LITTLE))
    client.time.pass_by(IDLE - 1.0)
    await client.send(bytes(1000))
    assert client.is_open_for(KEEP)


@pytest.mark.parametrize(("version", "closes"), [("0.9", True), ("1.0", True), ("1.1", False), ("2.0", True)])
async def test_an_answer_of_unknown_length_ends_with_the_connection_unless_it_is_chunked(
    version: str, closes: bool
) -> None:
    client = Client()
    await client.send(_head("GET /stream", "Connection: keep-alive", version=version))
    body = client.wire.written.partition(b"\r\n\r\n")[2]
    assert (client.wire.closing, body) == ((True, b"x") if closes else (False, b"1\r\nx\r\n0\r\n\r\n"))


STATES = {
    "nothing was sent": b"",
    "half a head": b"GET /now HTTP/1.1\r\nHo",
    "an answer": _head("GET /now"),
    "an answer, and half a head": _head("GET /now") + b"GET",
    "an answer before the body": _head("POST /now", LITTLE) + bytes(10),
    "an answer before the body, and half closed": _head("POST /now", MUCH) + bytes(10),
    "half a body": _head("POST /body", MUCH) + bytes(10),
    "a request": _head("GET /wait"),
    "pipelined requests": _head("GET /wait") * 3,
    "a malformed head": b"GET /now HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("sent", STATES.values(), ids=STATES)
@pytest.mark.parametrize("error", [None, ConnectionResetError()], ids=["closed", "reset"])
async def test_a_lost_connection_leaves_nothing_behind(sent: bytes, error: Exception | None) -> None:
    """No timer, task or list may hold it: clients can open and reset thousands per second."""
    port, wire = _port(), Wire()
    protocol = port()
    protocol.connection_made(wire)
    if sent:
        protocol.data_received(sent)
    await _passes()
    wire.closing = True
    protocol.connection_lost(error)
    lost = weakref.ref(protocol)
    del protocol, wire
    await _passes()
    gc.collect()
    assert lost() is None
