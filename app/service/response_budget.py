"""Limits the bytes of pictures being sent: clients that read slowly or not at all cannot exhaust the memory."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from app.errors import QueueFull, TooManyRequests
from app.service.transfers import Transfers
from app.shares import Shares


@dataclass(frozen=True, slots=True)
class Reader:
    """The connection that reads a response.

    `taken` returns the bytes it has read so far, of this answer and earlier ones; `cut_off` ends it.
    """

    taken: Callable[[], int]
    cut_off: Callable[[], None]


class ResponseBudget:
    """A ceiling for all clients together, which they share; one alone may have half. Used on the event loop only.

    A client's first response may take all that is free, and a response larger than the ceiling is admitted when nothing
    else is counted. If there is no room, slow responses are cut off, slowest first: otherwise clients at many
    addresses, each reading a byte now and then, could lock everybody out. Only clients that hold more than the one that
    asks are cut off.
    """

    def __init__(self, max_bytes: int, slow_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`max_bytes` is the ceiling; a response that would take over `slow_seconds` at its rate so far is slow."""
        self._max_bytes = max_bytes
        self._shares = Shares(max_bytes // 2, max_bytes)
        self._transfers = Transfers(self._shares, slow_seconds, clock)
        self._parts: Counter[tuple[str, int]] = Counter()  # client and picture, which is not freed while it counts

    @property
    def held_bytes(self) -> int:
        """Bytes held for all clients."""
        return self._shares.total

    def check(self, client: str, count: int = 0) -> None:
        """Makes room for `count` bytes more if need be, or raises TooManyRequests or QueueFull.

        Before any work is done, call it with 0: it then raises if any response would be refused.
        """
        while refusal := self._refusal(client, count):
            if not self._transfers.cut_off_slowest(client, self._shares.of(client)):
                raise refusal

    def hold(
        self, client: str, count: int, reader: Reader | None = None, part_of: bytes | None = None
    ) -> Callable[[], None]:
        """Counts a response of `count` bytes for `client`; call the returned function once, to give them back.

        Without a `reader` the response cannot be cut off. `part_of` is the picture of which the response is a part. It
        stays in memory as a whole, so it counts instead, but only once for all of its parts that the client is sent.
        Raises TooManyRequests or QueueFull.
        """
        give_back = self._count(client, count) if part_of is None else self._count_part(client, part_of)
        if reader is None:
            return give_back

        def cut_off() -> None:
            give_back()
            reader.cut_off()

        transfer = self._transfers.begin(client, count, reader.taken, cut_off)

        def end() -> None:
            if self._transfers.end(transfer):
                give_back()

        return end

    def _count(self, client: str, count: int) -> Callable[[], None]:
        """Counts bytes; the returned function gives them back. Raises TooManyRequests or QueueFull."""
        self.check(client, count)
        self._shares.add(client, count)
        return lambda: self._shares.remove(client, count)

    def _count_part(self, client: str, picture: bytes) -> Callable[[], None]:
        """Counts the whole picture with the first of its parts that are being sent; it is given back with the last."""
        key = (client, id(picture))
        more = 0 if self._parts[key] else len(picture)
        self.check(client, more)
        self._shares.add(client, more)
        self._parts[key] += 1

        def give_back() -> None:
            self._parts[key] -= 1
            if not self._parts[key]:
                del self._parts[key]
                self._shares.remove(client, len(picture))  # also keeps the picture, so that its id stays its own

        return give_back

    def _refusal(self, client: str, count: int) -> TooManyRequests | QueueFull | None:
        own = self._shares.of(client)
        if own and count > self._shares.room(client):
            return TooManyRequests(
                f"{own} bytes of your responses have not been read yet, which leaves no room for another one. "
                "Read them first.",
                retry_after=2.0,
            )
        if self.held_bytes and count > self._max_bytes - self.held_bytes:
            return QueueFull("Too many responses are waiting to be read. Try again in a few seconds.", retry_after=5.0)
        return None
