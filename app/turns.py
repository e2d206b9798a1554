"""Round-robin over clients, also for work that needs one of a few seats. Not thread-safe."""

from collections import deque
from typing import Generic, TypeVar

from app.shares import Shares

T = TypeVar("T")


class RoundRobin(Generic[T]):
    """A round-robin in which newcomers need not wait for a whole round.

    A newcomer's first turn comes after the next turn of the round, or, if another newcomer is waiting, after that one
    and one more turn: however many newcomers there are, every second turn is left to the others.
    """

    def __init__(self) -> None:
        self._order: list[T] = []
        self._newcomers: dict[T, None] = {}  # in the order of their turns

    def __bool__(self) -> bool:
        return bool(self._order)

    def add(self, member: T) -> None:
        """Adds a member, which must not take part already."""
        last = self._order.index(next(reversed(self._newcomers))) if self._newcomers else -1
        self._order.insert(last + 2, member)
        self._newcomers[member] = None

    def remove(self, member: T) -> None:
        """Removes a member."""
        self._order.remove(member)
        self._newcomers.pop(member, None)

    def served(self, member: T) -> None:
        """Moves a member to the end of the round."""
        self.remove(member)
        self._order.append(member)

    def order(self) -> list[T]:
        """The members in the order of their turns."""
        return list(self._order)


class Seats(Generic[T]):
    """Assigns a few seats, such as threads or processes, to waiting items of clients.

    A free seat goes to the waiting client that has the fewest, in turn among equals. One client has at most `count`
    seats; one more is reserved for clients that have none.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._taken = Shares(count, count + 1)
        self._waiting: dict[str, deque[T]] = {}
        self._turns: RoundRobin[str] = RoundRobin()

    def wait(self, client: str, item: T) -> None:
        """Queues an item of a client, after its others."""
        if client not in self._waiting:
            self._waiting[client] = deque()
            self._turns.add(client)
        self._waiting[client].append(item)

    def take(self) -> tuple[str, T] | None:
        """Gives a seat to the next item, until `leave`; returns (client, item), or None if no item may have a seat."""
        client = self._next()
        if client is None:
            return None
        item = self._waiting[client].popleft()
        self._turns.served(client)
        if not self._waiting[client]:
            self._forget(client)
        self._taken.add(client)
        return client, item

    def leave(self, client: str) -> None:
        """Gives back one of a client's seats."""
        self._taken.remove(client)

    def clear(self) -> list[T]:
        """Removes and returns all waiting items."""
        items = [item for waiting in self._waiting.values() for item in waiting]
        for client in list(self._waiting):
            self._forget(client)
        return items

    def _next(self) -> str | None:
        """The client with the fewest seats that may have one more. Stops at the first one without any."""
        if self._taken.total > self._count:
            return None
        fewest = None
        for client in self._turns.order():
            if self._taken.room(client) > 0 and (fewest is None or self._taken.of(client) < self._taken.of(fewest)):
                fewest = client
                if not self._taken.of(client):
                    break
        return fewest

    def _forget(self, client: str) -> None:
        del self._waiting[client]
        self._turns.remove(client)
