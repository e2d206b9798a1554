"""A flood of requests delays only the client that sends it."""

import asyncio
import contextlib
import functools
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, cast

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from app.api.connections import Connections
from app.api.entrance import Entrance
from app.api.protocol import BoundedProtocol
from app.api.server import bounded_protocol
from app.settings import Settings
from tests.api.transport import Transport

FLOOD, ANOTHER, NEIGHBOUR = "192.0.2.1", "2001:db8:1::1", "2001:db8:1::2"


class Desk:
    """Notes who begins, and in which pass of the event loop."""

    def __init__(self) -> None:
        self.entrance = Entrance(self.answer)
        self.begun: list[str] = []
        self.passes: list[int] = []
        self._pass = 0

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun.append(scope["client"][0])
        self.passes.append(self._pass)

    def request(self, address: str) -> Coroutine[Any, Any, None]:
        async def receive() -> Any: ...
        async def send(message: Any) -> None: ...

        return self.entrance({"type": "http", "client": (address, 1)}, receive, send)

    async def count_passes(self) -> None:
        while True:
            await asyncio.sleep(0)
            self._pass += 1


async def test_one_request_starts_per_pass_and_clients_take_turns() -> None:
    desk = Desk()
    counting = asyncio.create_task(desk.count_passes())
    requests = [desk.request(FLOOD) for _ in range(100)]
    requests += [desk.request(ANOTHER), desk.request(ANOTHER), desk.request(NEIGHBOUR)]
    await asyncio.gather(*requests)
    counting.cancel()
    assert desk.begun[:8] == [FLOOD, FLOOD, ANOTHER, FLOOD, ANOTHER, FLOOD, NEIGHBOUR, FLOOD]  # one network, one client
    assert len(desk.begun) == 103
    assert len(set(desk.passes)) == 103


async def test_a_single_request_does_not_wait() -> None:
    desk = Desk()
    for _ in range(3):
        request = desk.request(FLOOD)
        with contextlib.suppress(StopIteration):
            request.send(None)
        assert len(desk.begun) == 1
        desk.begun.clear()
        await asyncio.sleep(0)


async def test_a_cancelled_request_costs_the_others_no_turn() -> None:
    desk = Desk()
    waiting = [asyncio.create_task(desk.request(address)) for address in (FLOOD, FLOOD, ANOTHER)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert desk.begun == [FLOOD, ANOTHER]
    await asyncio.sleep(0)
    await desk.request(NEIGHBOUR)
    assert desk.begun == [FLOOD, ANOTHER, NEIGHBOUR]


class Peer(Transport):
    """One connection with a body under way; each `piece` is read if somebody reads."""

    def __init__(
        self,
        port: Callable[[], BoundedProtocol],
        address: str,
        key: str = "",
        framing: str = "Content-Length: 1000000",
    ) -> None:
        super().__init__(address)
        self.protocol = port()
        self.protocol.connection_made(self)
        self.protocol.data_received(f"POST /{key} HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode())

    def piece(self) -> None:
        assert self.reading
        self.protocol.data_received(bytes(1000))


def a_port() -> Callable[[], BoundedProtocol]:
    """Makes connections to an application that takes bodies, and knows clients by the keys in their paths, if any."""

    async def take(scope: Any, receive: Any, send: Any) -> None:
        if key := scope["path"][1:]:
            scope["lapsrn.facts"] = {"client": key}
        while (await receive())["type"] == "http.request":
            pass

    make = bounded_protocol(Settings(), Connections(1000, 1000))
    return functools.partial(make, config=Config(take, ws="none"), server_state=ServerState(), app_state={})


async def turns_of(peers: Sequence[Peer]) -> list[int]:
    """Each has sent a piece, and sends another one as soon as it is read; the order in which that is."""
    order = []
    for _ in range(3 * len(peers)):
        await asyncio.sleep(0)
        for number, peer in enumerate(peers):
            if peer.reading:
                order.append(number)
                peer.piece()
                assert not peer.reading
    return order


async def test_one_piece_of_all_bodies_is_read_per_pass_and_clients_take_turns() -> None:
    port = a_port()
    peers = [Peer(port, FLOOD) for _ in range(10)] + [Peer(port, ANOTHER)]
    await asyncio.sleep(0)
    for peer in peers:
        peer.piece()
    assert [peer.reading for peer in peers] == [True] + [False] * 10  # the first was alone so far
    peers[0].piece()
    assert not any(peer.reading for peer in peers)
    order = await turns_of(peers)
    assert order[:8] == [1, 10, 2, 10, 3, 10, 4, 10]
    assert len(order) == 33


@pytest.mark.parametrize("keys", [("ann", "bob"), ("", "")])
async def test_clients_behind_one_proxy_take_turns_like_others(keys: tuple[str, str]) -> None:
    """With API keys, and without, by the addresses that uvicorn's proxy middleware sets."""
    port = a_port()
    peers = [Peer(port, FLOOD, keys[0]) for _ in range(10)] + [Peer(port, FLOOD, keys[1])]
    await asyncio.sleep(0)
    if not any(keys):
        cast(Any, peers[10].protocol.cycle.scope)["client"] = (ANOTHER, 1)
    for peer in (*peers, peers[0]):
        peer.piece()
    assert (await turns_of(peers))[:6] == [1, 10, 2, 10, 3, 10]


async def test_a_single_body_is_read_in_every_pass() -> None:
    peer = Peer(a_port(), FLOOD)
    for _ in range(5):
        await asyncio.sleep(0)
        peer.piece()
        assert peer.reading


async def test_small_chunks_that_arrive_together_are_read_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one, 40,000 chunks of a byte each blocked the event loop for 80 ms."""
    taken = []
    monkeypatch.setattr(HttpToolsProtocol, "on_body", lambda self, body: taken.append(body))
    peer = Peer(a_port(), FLOOD, framing="Transfer-Encoding: chunked")
    peer.protocol.data_received(b"1\r\na\r\n" * 1000)
    peer.protocol.data_received(b"1\r\nb\r\n" * 1000 + b"0\r\n\r\n")
    assert taken == [b"a" * 1000, b"b" * 1000]


async def test_a_lost_connection_costs_the_others_no_turn() -> None:
    port = a_port()
    peers = [Peer(port, FLOOD) for _ in range(5)]
    await asyncio.sleep(0)
    for peer in (*peers, peers[0]):
        peer.piece()
    for gone in peers[1:3]:
        gone.protocol.connection_lost(None)
    await asyncio.sleep(0)
    assert [peer.reading for peer in peers] == [False, False, False, True, False]
