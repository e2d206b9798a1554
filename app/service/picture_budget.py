"""Memory of pictures in progress, from decoded to written: what does not fit is refused before it is worked on."""

from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import QueueFull, TooManyPixels
from app.service.client_quota import UnderWay

_MIB = 2**20
_RETRY_SECONDS = 5.0


class PictureBudget:
    """A ceiling for all pictures together. Lives on the event loop."""

    def __init__(self, max_bytes: int) -> None:
        """`max_bytes` is the ceiling."""
        self._max_bytes = max_bytes
        self._under_way = UnderWay()

    @property
    def held_bytes(self) -> int:
        """Bytes counted in and not yet out."""
        return self._under_way.total()

    @contextmanager
    def hold(self, client: str, count: int) -> Iterator[None]:
        """Counts `count` bytes for `client` while the block runs.

        Raises TooManyPixels for a picture that needs more than there is by itself, and QueueFull.
        """
        if count > self._max_bytes:
            raise TooManyPixels(
                f"Making this picture takes about {count // _MIB:,} MiB of memory, and there are "
                f"{self._max_bytes // _MIB:,}. Use a smaller scale, a smaller picture, or format=png, "
                "which takes the least."
            )
        if self.held_bytes + count > self._max_bytes:
            raise QueueFull(
                f"Making this picture takes about {count // _MIB:,} MiB of memory, and others have "
                f"{self.held_bytes // _MIB:,} of {self._max_bytes // _MIB:,}. Try again in a few seconds.",
                _RETRY_SECONDS,
            )
        leave = self._under_way.enter(client, count)
        try:
            yield
        finally:
            leave()
