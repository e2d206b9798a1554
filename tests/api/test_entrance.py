"""A flood waits behind its own."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

from starlette.types import Receive, Scope, Send

from app.api.entrance import Entrance

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


async def test_one_begins_in_a_pass_and_clients_come_in_turn() -> None:
    desk = Desk()
    counting = asyncio.create_task(desk.count_passes())
    requests = [desk.request(FLOOD) for _ in range(100)]
    requests += [desk.request(ANOTHER), desk.request(ANOTHER), desk.request(NEIGHBOUR)]
    await asyncio.gather(*requests)
    counting.cancel()
    assert desk.begun[:8] == [FLOOD, FLOOD, ANOTHER, FLOOD, ANOTHER, FLOOD, NEIGHBOUR, FLOOD]  # one network, one client
    assert len(desk.begun) == 103
    assert len(set(desk.passes)) == 103


async def test_a_request_that_comes_alone_does_not_wait() -> None:
    desk = Desk()
    for _ in range(3):
        request = desk.request(FLOOD)
        with contextlib.suppress(StopIteration):
            request.send(None)
        assert len(desk.begun) == 1
        desk.begun.clear()
        await asyncio.sleep(0)


async def test_one_that_is_cancelled_costs_the_others_no_turn() -> None:
    desk = Desk()
    waiting = [asyncio.create_task(desk.request(address)) for address in (FLOOD, FLOOD, ANOTHER)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert desk.begun == [FLOOD, ANOTHER]
    await asyncio.sleep(0)
    await desk.request(NEIGHBOUR)
    assert desk.begun == [FLOOD, ANOTHER, NEIGHBOUR]
