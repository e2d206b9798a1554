"""Bytes of bodies that may be held at once, over all clients: uploads in parallel cannot exhaust the memory."""

from app.errors import QueueFull


class UploadBudget:
    """A counter with a ceiling. Not thread-safe: it lives on the event loop."""

    def __init__(self, max_bytes: int) -> None:
        """`max_bytes` is the ceiling."""
        self._max_bytes = max_bytes
        self.held_bytes = 0

    def reserve(self) -> "Reservation":
        """A share of the budget, empty at first."""
        return Reservation(self)

    def take(self, count: int) -> None:
        """Counts `count` bytes. Raises QueueFull when they do not fit."""
        if self.held_bytes + count > self._max_bytes:
            raise QueueFull("Too many uploads are under way. Wait a little and send it again.", retry_after=2.0)
        self.held_bytes += count

    def give(self, count: int) -> None:
        """Counts `count` bytes less."""
        self.held_bytes -= count


class Reservation:
    """One request's share."""

    def __init__(self, budget: UploadBudget) -> None:
        """Starts at nothing."""
        self._budget = budget
        self._bytes = 0

    def grow(self, count: int) -> None:
        """Holds `count` bytes more. Raises QueueFull."""
        self._budget.take(count)
        self._bytes += count

    def release(self) -> None:
        """Gives everything back; a second call changes nothing."""
        self._budget.give(self._bytes)
        self._bytes = 0
