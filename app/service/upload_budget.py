"""Bytes of bodies that may be held at once: uploads cannot exhaust the memory, nor one client's the whole budget."""

from app.shares import Shares


class UploadBudget:
    """Bytes by client, admitted by shares. Not thread-safe: it lives on the event loop."""

    def __init__(self, max_bytes: int) -> None:
        """`max_bytes` is for one client alone; see Shares for several."""
        self._shares = Shares(max_bytes)

    @property
    def held_bytes(self) -> int:
        """Bytes held for all clients."""
        return self._shares.total

    def reserve(self, client: str = "") -> "Reservation":
        """A part of the budget for one of the client's bodies, empty at first."""
        return Reservation(self, client)

    def take(self, client: str, count: int) -> None:
        """Counts `count` bytes. Raises QueueFull or TooManyRequests when the client has no room for them."""
        if count > self._shares.room(client):
            raise self._shares.refusal(
                client,
                "Too many uploads are under way. Wait a little and send it again.",
                f"Your uploads under way have {self._shares.of(client):,} bytes, which is your share while other "
                "clients are here. Wait for one of your pictures to be decoded, and send fewer at once.",
                retry_after=2.0,
            )
        self._shares.add(client, count)

    def give(self, client: str, count: int) -> None:
        """Counts `count` bytes less."""
        self._shares.remove(client, count)


class Reservation:
    """One request's part."""

    def __init__(self, budget: UploadBudget, client: str) -> None:
        """Starts at nothing."""
        self._budget, self._client = budget, client
        self._bytes = 0

    def grow(self, count: int) -> None:
        """Holds `count` bytes more. Raises QueueFull or TooManyRequests."""
        self._budget.take(self._client, count)
        self._bytes += count

    def release(self) -> None:
        """Gives everything back; a second call changes nothing."""
        self._budget.give(self._client, self._bytes)
        self._bytes = 0
