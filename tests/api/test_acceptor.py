"""Connections that several processes take from one socket."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from app.api.acceptor import Acceptor
from tests.conftest import until


class Guest(asyncio.Protocol):
    """Leaves at once."""

    def __init__(self, ended: list["Guest"]) -> None:
        self._ended = ended

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended.append(self)


class Counted(Acceptor):
    """Counts its turns, and what it has taken."""

    def __init__(self, listener: socket.socket) -> None:
        self.turns = self.taken = 0
        self._ended: list[Guest] = []
        super().__init__(listener, lambda: Guest(self._ended))

    async def end(self) -> None:
        self.close()
        await self.wait_closed()
        await until(lambda: len(self._ended) == self.taken)

    def _pause(self, seconds: float) -> None:
        self.turns += 1
        super()._pause(seconds)

    def _connect(self, connection: socket.socket) -> None:
        self.taken += 1
        super()._connect(connection)


@pytest.fixture
def crowd() -> Iterator[tuple[socket.socket, int]]:
    """A socket with connections that wait, and how many."""
    count = 100
    with socket.create_server(("127.0.0.1", 0), backlog=count) as listener, ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection(listener.getsockname()))
        yield listener, count


async def test_a_crowd_of_connections_is_shared_and_accepted_in_few_passes(crowd: tuple[socket.socket, int]) -> None:
    """At one per turn, 500 a second would be accepted, as many as one client can open, and others would wait."""
    listener, count = crowd
    with listener.dup() as same:
        both = [Counted(each) for each in (listener, same)]
        await until(lambda: sum(each.taken for each in both) == count)
        assert min(each.taken for each in both) >= count // 4
        assert sum(each.turns for each in both) < count // 3
        for each in both:
            await each.end()
