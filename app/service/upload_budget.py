"""Limits the bytes of request bodies in memory, in total and for each client."""

import math
import time
from collections.abc import Callable

from app.errors import SlowClient, TooManyBytes
from app.service.transfers import Transfer, Transfers
from app.shares import Shares


class UploadBudget:
    """Bytes by client, admitted by shares. Used on the event loop only.

    If there is no room, slow uploads are cut off, slowest first, as slow responses are: see ResponseBudget.
    """

    def __init__(
        self, max_bytes: int, slow_seconds: float = math.inf, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`max_bytes` is for one client alone, see Shares for several; an upload is slow if it would take more than
        `slow_seconds` at its rate so far.
        """
        self._max_bytes = max_bytes
        self._shares = Shares(max_bytes)
        self._transfers = Transfers(self._shares, slow_seconds, clock)

    @property
    def held_bytes(self) -> int:
        """Bytes held for all clients."""
        return self._shares.total

    def reserve(self, client: str = "") -> "Reservation":
        """A reservation for one of the client's bodies, empty at first."""
        return Reservation(self._max_bytes, self._shares, self._transfers, client)


class Reservation:
    """The bytes of the budget that one request's body holds."""

    def __init__(self, max_bytes: int, shares: Shares, transfers: Transfers, client: str) -> None:
        """Starts at 0 bytes; a body of more than `max_bytes` never fits."""
        self._max_bytes = max_bytes
        self._shares, self._transfers, self._client = shares, transfers, client
        self._bytes = 0
        self._transfer: Transfer | None = None
        self._cut_off = False

    def arriving(self, declared: int, wake: Callable[[], None]) -> None:
        """Call when the body starts to arrive; it has at least `declared` bytes. Raises TooManyBytes.

        Until `arrived`, the upload may be cut off to make room for others: its bytes are given back, `wake` is called,
        and later calls raise SlowClient.
        """
        self._fit(declared)

        def cut_off() -> None:
            self._cut_off = True
            self.release()
            wake()

        self._transfer = self._transfers.begin(self._client, declared, lambda: self._bytes, cut_off)

    def check(self) -> None:
        """Raises SlowClient if the upload was cut off."""
        if self._cut_off:
            raise SlowClient(
                "The body arrived slowly while others found no room for theirs. Send it again a little later, or over "
                "a faster connection."
            )

    def arrived(self) -> None:
        """Call when the body is complete; from then on it cannot be cut off. Raises SlowClient."""
        self.check()
        self._end()

    def grow(self, count: int) -> None:
        """Holds `count` bytes more.

        Raises QueueFull or TooManyRequests when the client has no room, SlowClient, or TooManyBytes.
        """
        self.check()
        self._fit(self._bytes + count)
        while count > self._shares.room(self._client):
            others = self._shares.of(self._client) - self._bytes
            if not self._transfers.cut_off_slowest(self._client, others, self._transfer):
                raise self._shares.refusal(
                    self._client,
                    "Too many uploads are under way. Wait a little and send it again.",
                    f"Your uploads under way have {self._shares.of(self._client):,} bytes, which is your share while "
                    "other clients are here. Wait for one of your pictures to be decoded, and send fewer at once.",
                    retry_after=2.0,
                )
        self._shares.add(self._client, count)
        self._bytes += count

    def release(self) -> None:
        """Gives all bytes back; a second call has no effect."""
        self._end()
        self._shares.remove(self._client, self._bytes)
        self._bytes = 0

    def _fit(self, count: int) -> None:
        if count > self._max_bytes:
            raise TooManyBytes(f"The request's body may have at most {self._max_bytes} bytes. Send a smaller picture.")

    def _end(self) -> None:
        if self._transfer is not None:
            self._transfers.end(self._transfer)
