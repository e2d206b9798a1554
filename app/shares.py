"""How clients share a limited resource: one admission rule for tiles, bytes, jobs and decoder processes.

A client may hold at most a fixed multiple of what is free: the dynamic threshold of Choudhury and Hahne, "Dynamic queue
length thresholds for shared-memory packet switches", IEEE/ACM Transactions on Networking 1998. A client alone can use
the whole capacity. When others come, the threshold falls for all, so the largest user is refused first, until all have
equal parts; and since some is always free, a client that holds nothing is admitted.
"""

from app.errors import QueueFull, TooManyRequests


class Shares:
    """Amounts held by clients. Not thread-safe.

    A single client may hold `alone`; all together may hold `ceiling`, and the difference between the two is the
    reserve. Of n clients that take as much as they can, each gets ceiling / (n + reserve / alone).
    """

    def __init__(self, alone: int, ceiling: int | None = None) -> None:
        """By default the reserve is a third of `alone`, so that a newcomer can take a quarter of `alone`."""
        self._alone = alone
        self._ceiling = alone + alone // 3 if ceiling is None else ceiling
        self._held: dict[str, int] = {}
        self._counted = 0
        self.total = 0
        """Held by all clients."""

    def of(self, client: str) -> int:
        """Held by this client."""
        return self._held.get(client, 0)

    def room(self, client: str) -> int:
        """How much more this client may take; at least 1 if it holds nothing and anything is free.

        What a client holds beyond `alone` is not counted, so that the reserve remains for others.
        """
        own, free = self.of(client), self._ceiling - self._counted
        room = (self._alone * free - (self._ceiling - self._alone) * own) // max(1, self._ceiling)
        return room if own else max(room, min(1, free))

    def add(self, client: str, amount: int = 1) -> None:
        """Counts more for the client, whether or not there is room."""
        self._set(client, self.of(client) + amount)

    def remove(self, client: str, amount: int = 1) -> None:
        """Counts less for the client, which gives back what it took."""
        self._set(client, self.of(client) - amount)

    def refusal(self, client: str, crowded: str, own: str, retry_after: float) -> QueueFull | TooManyRequests:
        """The error for a client without room: TooManyRequests with the text `own` if it is not alone and holds at
        least the average, otherwise QueueFull with the text `crowded`. `retry_after` is in seconds.
        """
        average = self.total / max(1, len(self._held))
        if len(self._held) > 1 and self.of(client) >= average:
            return TooManyRequests(own, retry_after)
        return QueueFull(crowded, retry_after)

    def _set(self, client: str, amount: int) -> None:
        before = self.of(client)
        self._held[client] = amount
        if not amount:
            del self._held[client]
        self.total += amount - before
        self._counted += min(amount, self._alone) - min(before, self._alone)
