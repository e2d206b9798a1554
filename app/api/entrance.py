"""The middleware that lets requests in one at a time, clients in turn, so that a flood waits behind its own.

Everything in Python that a request needs is done on the event loop, pass by pass. If all of a flood's requests began as
they come, each pass would do a piece of each of them, and a request of another client, which takes some twenty passes,
would wait for all of that twenty times. So in each pass no more than one begins.
"""

import asyncio
from collections import deque

from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.access import network_of


class Entrance:
    """Holds requests back while another one has begun in the same pass of the event loop."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # the clients in the order of their turns
        self._taken = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on when it is its client's turn."""
        if scope["type"] == "http":
            await self._turn(scope["client"][0] if scope["client"] else "")
        await self._app(scope, receive, send)

    async def _turn(self, address: str) -> None:
        loop = asyncio.get_running_loop()
        if self._taken:
            turn = loop.create_future()
            self._waiting.setdefault(network_of(address), deque()).append(turn)
            await turn
        else:
            self._taken = True
            loop.call_soon(self._next_pass)

    def _next_pass(self) -> None:
        """Lets the next one in, if there is one; a client that has more comes again after all others."""
        while self._waiting:
            client = next(iter(self._waiting))
            turns = self._waiting.pop(client)
            turn = turns.popleft()
            if turns:
                self._waiting[client] = turns
            if not turn.done():  # else it was cancelled
                turn.set_result(None)
                asyncio.get_running_loop().call_soon(self._next_pass)
                return
        self._taken = False
