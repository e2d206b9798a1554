"""Admits one piece of work per iteration of the event loop, clients in turn."""

import asyncio
from collections import deque
from collections.abc import Callable


class Turnstile:
    """Spreads work that would block the event loop if a flood did all of it at once. Used on the event loop only."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Callable[[], bool]]] = {}  # clients in the order of their turns
        self._taken = False

    def take(self) -> bool:
        """Takes this iteration if it is free; False if it is taken, or if work is waiting."""
        if self._taken:
            return False
        self._taken = True
        asyncio.get_running_loop().call_soon(self._next_pass)
        return True

    def wait(self, client: str, begin: Callable[[], bool]) -> None:
        """After `take` failed: calls `begin` when it is the client's turn. It returns whether it had work to do."""
        self._waiting.setdefault(client, deque()).append(begin)

    async def passed(self, client: str) -> None:
        """Returns in a free iteration, when it is the client's turn."""
        if not self.take():
            turn = asyncio.get_running_loop().create_future()
            self.wait(client, lambda: _begun(turn))
            await turn

    def _next_pass(self) -> None:
        """Starts the next waiting piece of work; its client then goes to the end of the queue."""
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
    """Wakes the waiting task; False if it was cancelled."""
    if turn.done():
        return False
    turn.set_result(None)
    return True
