"""Pictures on their way to or from clients: the slowest are cut off when somebody else needs their memory."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from app.shares import Shares

_GRACE_SECONDS = 5.0
"""A transfer's pace says nothing before."""
_LOOK_SECONDS = 1.0
"""Paces are looked at no more often: with a thousand transfers that takes milliseconds, and a flood may be refused."""
_JUDGED_SECONDS = 1.0
"""A transfer that ended sooner says nothing about its client."""
_REMEMBERED_SECONDS = 60.0
"""For so long a client whose transfer was slow has no grace time: else it begins anew every few seconds."""


@dataclass(frozen=True, slots=True, eq=False)
class Transfer:
    """`count` bytes that are being moved; its client had moved `before` when it began."""

    client: str
    count: int
    moved: Callable[[], int]
    cut_off: Callable[[], None]
    began: float
    before: int

    def seconds(self, now: float) -> float:
        """How long all of it takes at its pace until now; `count` may be less than what comes."""
        moved = max(1, self.moved() - self.before)
        return (now - self.began) * max(self.count, moved) / moved


class Transfers:
    """Those of all clients. Lives on the event loop."""

    def __init__(self, shares: Shares, slow_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`shares`: the bytes of clients; a transfer that takes more than `slow_seconds` at its pace is slow."""
        self._shares, self._slow_seconds, self._clock = shares, slow_seconds, clock
        self._running: dict[Transfer, None] = {}
        self._slow: dict[Transfer, None] = {}  # the slowest first, as of the last look
        self._slow_clients: dict[str, float] = {}  # when their last slow transfer ended, in this order
        self._looked_at = -math.inf

    def begin(self, client: str, count: int, moved: Callable[[], int], cut_off: Callable[[], None]) -> Transfer:
        """`moved` tells bytes, of this transfer and of those before; `cut_off` is called at most once."""
        transfer = Transfer(client, count, moved, cut_off, self._clock(), moved())
        self._running[transfer] = None
        return transfer

    def end(self, transfer: Transfer) -> bool:
        """Whether it was still running; then its pace is remembered."""
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
        """Cuts off the slowest transfer of another client that holds more than `own`; False if there is none.

        `own` is what `client` holds besides what it asks for, as `asking` if that has begun. One that is slow itself
        cuts nobody off.
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
        """Finds the slow ones, unless that was done just now."""
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
        """Forgets the clients whose last slow transfer is long over."""
        while self._slow_clients:
            client = next(iter(self._slow_clients))
            if now - self._slow_clients[client] < _REMEMBERED_SECONDS:
                return
            del self._slow_clients[client]
