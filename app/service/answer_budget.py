"""Bytes of finished pictures on their way to clients: those that nobody reads cannot exhaust the memory."""

from collections.abc import Callable

from app.errors import QueueFull, TooManyRequests
from app.service.client_quota import UnderWay


class AnswerBudget:
    """A ceiling for all clients together, of which one may have half. Lives on the event loop.

    A picture that is larger than that by itself is let through when nothing else is counted.
    """

    def __init__(self, max_bytes: int) -> None:
        """`max_bytes` is the ceiling."""
        self._max_bytes = max_bytes
        self._under_way = UnderWay()

    @property
    def held_bytes(self) -> int:
        """Bytes counted in and not yet out."""
        return self._under_way.total()

    def hold(self, client: str, count: int) -> Callable[[], None]:
        """Counts `count` bytes for `client`; the returned call, made once, counts them out.

        With 0 it only asks for room, before any work is done. Raises TooManyRequests or QueueFull.
        """
        own = self._under_way.of(client)
        if own and own + count > self._max_bytes // 2:
            raise TooManyRequests(
                f"{own} bytes of your answers have not been read yet, which leaves no room for another one. "
                "Read them first.",
                retry_after=2.0,
            )
        if self.held_bytes and self.held_bytes + count > self._max_bytes:
            raise QueueFull("Too many answers are waiting to be read. Try again in a few seconds.", retry_after=5.0)
        return self._under_way.enter(client, count)
