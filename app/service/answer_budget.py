"""Bytes of finished pictures on their way to clients: those that nobody reads cannot exhaust the memory."""

from collections.abc import Callable

from app.errors import QueueFull, TooManyRequests
from app.shares import Shares


class AnswerBudget:
    """A ceiling for all clients together, which they share; one alone may have half. Lives on the event loop.

    A client's first answer may take all that is free, and one that is larger than the ceiling is let through when
    nothing else is counted.
    """

    def __init__(self, max_bytes: int) -> None:
        """`max_bytes` is the ceiling."""
        self._max_bytes = max_bytes
        self._shares = Shares(max_bytes // 2, max_bytes)

    @property
    def held_bytes(self) -> int:
        """Bytes counted in and not yet out."""
        return self._shares.total

    def hold(self, client: str, count: int) -> Callable[[], None]:
        """Counts `count` bytes for `client`; the returned call, made once, counts them out.

        With 0 it only asks for room, before any work is done. Raises TooManyRequests or QueueFull.
        """
        own = self._shares.of(client)
        if own and count > self._shares.room(client):
            raise TooManyRequests(
                f"{own} bytes of your answers have not been read yet, which leaves no room for another one. "
                "Read them first.",
                retry_after=2.0,
            )
        if self.held_bytes and count > self._max_bytes - self.held_bytes:
            raise QueueFull("Too many answers are waiting to be read. Try again in a few seconds.", retry_after=5.0)
        self._shares.add(client, count)
        return lambda: self._shares.remove(client, count)
