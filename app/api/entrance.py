"""Lets requests begin: of each client a few in one round of the event loop, however many connections it has."""

import asyncio
from collections import Counter, deque

AT_ONCE = 4
"""Requests of a client that begin in one round."""


class Entrance:
    """Paces requests by client. Lives on the event loop.

    What has arrived is worked on in one round, and whoever comes meanwhile waits for all of it: hundreds of small
    requests are tenths of a second, and a picture takes many rounds. Here the rest of one client's wait for the next
    rounds, in which others have their turn; nobody waits while there is nothing else to do.
    """

    def __init__(self) -> None:
        self._begun: Counter[str] = Counter()
        """Requests of this round."""
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._counting = False

    async def enter(self, client: str) -> None:
        """Waits until another request of this client may begin."""
        if not self._counting:
            self._counting = True
            asyncio.get_running_loop().call_soon(self._next_round)
        if client not in self._waiting and self._begun[client] < AT_ONCE:
            self._begun[client] += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        await turn

    def _next_round(self) -> None:
        self._begun.clear()
        for client, turns in list(self._waiting.items()):
            while turns and self._begun[client] < AT_ONCE:
                turn = turns.popleft()
                if not turn.done():  # its client may have gone
                    turn.set_result(None)
                    self._begun[client] += 1
            if not turns:
                del self._waiting[client]
        self._counting = bool(self._begun)
        if self._counting:
            asyncio.get_running_loop().call_soon(self._next_round)
