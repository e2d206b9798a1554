"""Limits the memory of pictures in progress, from decoded to written: what does not fit is refused before any work."""

from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import TooManyPixels
from app.shares import Shares

_MIB = 2**20
_RETRY_SECONDS = 5.0


class PictureBudget:
    """A ceiling for all pictures together, which clients share. Used on the event loop only.

    A client's first picture may take all that is free.
    """

    def __init__(self, max_bytes: int) -> None:
        """`max_bytes` is the ceiling."""
        self._max_bytes = max_bytes
        self._shares = Shares(max_bytes * 3 // 4, max_bytes)

    @property
    def held_bytes(self) -> int:
        """Bytes held for all clients."""
        return self._shares.total

    @contextmanager
    def hold(self, client: str, count: int) -> Iterator[None]:
        """Counts `count` bytes for `client` while the block runs.

        Raises TooManyPixels if the picture alone exceeds the ceiling, and otherwise QueueFull or TooManyRequests.
        """
        if count > self._max_bytes:
            raise TooManyPixels(
                f"Making this picture takes about {count // _MIB:,} MiB of memory, and there are "
                f"{self._max_bytes // _MIB:,}. Use a smaller scale, a smaller picture, or format=png, "
                "which takes the least."
            )
        own, free = self._shares.of(client), self._max_bytes - self.held_bytes
        room = min(free, self._shares.room(client)) if own else free
        if count > room:
            takes = f"Making this picture takes about {count // _MIB:,} MiB of memory, and"
            raise self._shares.refusal(
                client,
                f"{takes} {self.held_bytes // _MIB:,} of {self._max_bytes // _MIB:,} are taken. Try again in a few "
                "seconds.",
                f"{takes} your pictures in progress have {own // _MIB:,}, which leaves no room for it while other "
                "clients are here. Wait for one of them.",
                _RETRY_SECONDS,
            )
        self._shares.add(client, count)
        try:
            yield
        finally:
            self._shares.remove(client, count)
