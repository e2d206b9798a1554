"""Uploads and responses in transit: the slowest are cut off when another client needs their memory."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from app.shares import Shares

_GRACE_SECONDS = 5.0
"""A younger transfer is not judged by its rate yet."""
_LOOK_SECONDS = 1.0
"""Minimum interval between two looks at all rates: one takes milliseconds for a thousand transfers, and each refused
request of a flood would cause one."""
_JUDGED_SECONDS = 1.0
"""A transfer that ended sooner says nothing about its client."""
_REMEMBERED_SECONDS = 60.0
"""How long a client has no grace time after a slow transfer; otherwise it could start a new one every few seconds."""


@dataclass(frozen=True, slots=True, eq=False)
class Transfer:
    """A transfer of `count` bytes. `moved` returns the bytes its client has moved, which were `before` at the start."""

    client: str
    count: int
    moved: Callable[[], int]
    cut_off: Callable[[], None]
    began: float
    before: int

    def seconds(self, now: float) -> float:
        """The estimated duration of the whole transfer at its rate so far; more than `count` bytes may be moved."""
        moved = max(1, self.moved() - self.before)
        return (now - self.began) * max(self.count, moved) / moved


class Transfers:
    """The transfers of all clients. Used on the event loop only."""

    def __init__(self, shares: Shares, slow_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`shares` counts the clients' bytes; a transfer is slow if it would take more than `slow_seconds`."""
        self._shares, self._slow_seconds, self._clock = shares, slow_seconds, clock
        self._running: dict[Transfer, None] = {}
        self._slow: dict[Transfer, None] = {}  # the slowest first, as of the last look
        self._slow_clients: dict[str, float] = {}  # client -> end of its last slow transfer, ascending
        self._looked_at = -math.inf

    def begin(self, client: str, count: int, moved: Callable[[], int], cut_off: Callable[[], None]) -> Transfer:
        """`moved` returns the bytes of this and earlier transfers; `cut_off` is called at most once."""
        transfer = Transfer(client, count, moved, cut_off, self._clock(), moved())
        self._running[transfer] = None
        return transfer

    def end(self, transfer: Transfer) -> bool:
        """Ends a transfer, and remembers if it was slow. False if it had ended already."""
        if transfer not in self._running:
            return False
        del self._running[transfer]
        self._slow.pop(transfer, None)
        now = self._clock()
        if now - transfer.began >= _JUDGED_SECONDS:
            self._slow_clients.pop(transfer.client, None)
            if transfer.seconds(now) > self._slow_seconds:
                self._slow_clients[transfer.client] = now
        self._forget(now)
        return True

    def cut_off_slowest(self, client: str, own: int, asking: Transfer | None = None) -> bool:
        """Cuts off the slowest transfer among other clients that hold more than `own`; False if there is none.

        `own` is what `client` holds besides the transfer that needs room, which is `asking` if it has begun. A transfer
        that is slow itself cannot cut off others.
        """
        self._look()
        if asking in self._slow:
            return False
        for transfer in self._slow:
            if transfer.client != client and self._shares.of(transfer.client) > own:
                self.end(transfer)
                transfer.cut_off()
                return True
        return False

    def _look(self) -> None:
        """Updates the slow transfers, unless that was done just now."""
        now = self._clock()
        if now - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = now
        self._forget(now)
        seconds = {
            each: each.seconds(now)
            for each in self._running
            if now - each.began >= _GRACE_SECONDS or each.client in self._slow_clients
        }
        slow = (each for each in seconds if seconds[each] > self._slow_seconds)
        self._slow = dict.fromkeys(sorted(slow, key=seconds.__getitem__, reverse=True))

    def _forget(self, now: float) -> None:
        """Forgets clients whose last slow transfer ended long ago."""
        while self._slow_clients:
            client = next(iter(self._slow_clients))
            if now - self._slow_clients[client] < _REMEMBERED_SECONDS:
                return
            del self._slow_clients[client]
