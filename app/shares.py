"""How clients share what is limited: one rule of admission for tiles, bytes, jobs and decoder processes.

What a client holds may be at most a fixed multiple of what nobody holds: the dynamic threshold of Choudhury and Hahne,
"Dynamic queue length thresholds for shared-memory packet switches", IEEE/ACM Transactions on Networking 1998. A client
alone reaches the capacity. When others come, the same threshold falls for all, so the largest user is refused first,
until all have equal parts; and since some is always free, whoever holds nothing gets in.
"""

from app.errors import QueueFull, TooManyRequests


class Shares:
    """Amounts held by clients. Not thread-safe.

    One client may hold `alone` while it is alone; all together never have more room than `ceiling`, and what is between
    the two is the reserve. Of n clients that take what they can, each has ceiling / (n + reserve / alone).
    """

    def __init__(self, alone: int, ceiling: int | None = None) -> None:
        """The reserve is a third of `alone` unless `ceiling` says otherwise: a newcomer finds a quarter of `alone`."""
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
        """How much more this client may take; at least 1, if anything is free, when it holds nothing.

        What one client holds beyond `alone` is not counted, so that the reserve is there for others all the same.
        """
        own, free = self.of(client), self._ceiling - self._counted
        room = (self._alone * free - (self._ceiling - self._alone) * own) // max(1, self._ceiling)
        return room if own else max(room, min(1, free))

    def add(self, client: str, amount: int = 1) -> None:
        """The client takes more, whether or not there is room."""
        self._set(client, self.of(client) + amount)

    def remove(self, client: str, amount: int = 1) -> None:
        """The client gives back what it took."""
        self._set(client, self.of(client) - amount)

    def refusal(self, client: str, crowded: str, own: str, retry_after: float) -> QueueFull | TooManyRequests:
        """The error for a client without room: 503 that says `crowded`; or 429 that says `own`, if it is not alone and
        holds no less than clients do on average. `retry_after` is in seconds.
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
