"""One at a time in each pass of the event loop, clients in turn."""

import asyncio
from collections import deque
from collections.abc import Callable


class Turnstile:
    """What would make a pass long if all of a flood did it at once. Lives on the event loop."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Callable[[], bool]]] = {}  # the clients in the order of their turns
        self._taken = False

    def take(self) -> bool:
        """Whether this pass is free; then it is taken. While somebody waits none is."""
        if self._taken:
            return False
        self._taken = True
        asyncio.get_running_loop().call_soon(self._next_pass)
        return True

    def wait(self, client: str, begin: Callable[[], bool]) -> None:
        """After `take` said no: calls `begin` in the client's turn. It returns whether there still was work."""
        self._waiting.setdefault(client, deque()).append(begin)

    async def passed(self, client: str) -> None:
        """Returns in a pass that is free, in the client's turn."""
        if not self.take():
            turn = asyncio.get_running_loop().create_future()
            self.wait(client, lambda: _begun(turn))
            await turn

    def _next_pass(self) -> None:
        """Lets the next one in, if there is one; a client that has more comes again after all others."""
        while self._waiting:
            client = next(iter(self._waiting))
            turns = self._waiting.pop(client)
            begin = turns.popleft()
            if turns:
                self._waiting[client] = turns
            if begin():
                asyncio.get_running_loop().call_soon(self._next_pass)
                return
        self._taken = False


def _begun(turn: asyncio.Future[None]) -> bool:
    """Whether somebody still waits for this; else it was cancelled."""
    if turn.done():
        return False
    turn.set_result(None)
    return True
