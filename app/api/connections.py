"""Limits the number of connections, in total and per client; a few more are reserved for probes."""

from collections import Counter
from collections.abc import Callable
from typing import Literal, Protocol

from app.api.access import network_of
from app.metrics import Metrics
from app.process.open_files import raised_limit

PROBES = ("/healthz", "/readyz", "/metrics")
"""Paths that orchestrators and Prometheus request."""
RESERVE = 32
"""Connections beyond the limit, on which only requests for PROBES are served."""
_LINGERING = 64
"""Connections of one client, including those through a proxy, that may linger for the rest of a body."""
_OWN_FILES = 192
"""File descriptors needed for anything but connections: decoder processes, libraries, standard streams, Redis."""

Admission = Literal["open", "probes", "refused"]


class Connection(Protocol):
    """What is known of an open connection here."""

    @property
    def awaited(self) -> bool:
        """Whether a request has arrived on it whose response has not begun."""
        ...

    def displace(self) -> None:
        """Ends it, as another client needs its place."""
        ...


class Connections:
    """Counts the connections of one port. Used on the event loop only."""

    def __init__(
        self,
        limit: int,
        per_client: int,
        is_proxy: Callable[[str], bool] = lambda address: False,
        metrics: Metrics | None = None,
        leaving: Callable[[], bool] = lambda: False,
    ) -> None:
        """`limit` is the total, `per_client` the limit for each network (see `network_of`) except those of proxies.

        `metrics` gets their number. `leaving` returns whether the service is about to stop: each connection then ends
        with its next response.
        """
        self._limit, self._per_client = limit, per_client
        self._metrics, self._is_proxy = metrics, is_proxy
        self.leaving = leaving
        self._by_client: Counter[str] = Counter()
        self._open: dict[str, dict[Connection, None]] = {}  # of clients that are no proxies, the oldest first
        self._lingering: dict[str, dict[Callable[[], None], None]] = {}  # client -> callbacks to end them, oldest first

    def enter(self, address: str, connection: Connection) -> Admission:
        """Counts a connection, even if it is refused, until `leave`.

        If all are taken, it displaces one of the client that has the most, unless that is a proxy.
        """
        client, proxy = network_of(address), self._is_proxy(address)
        total = self._count(client, 1)
        if self._by_client[client] > self._per_client and not proxy:
            self.dropped("too-many")
            return "refused"
        if total > self._limit and not self._displaced_for(client):
            if total <= self._limit + RESERVE:
                return "probes"
            self.dropped("too-many")
            return "refused"
        if not proxy:
            self._open.setdefault(client, {})[connection] = None
        return "open"

    def leave(self, address: str, connection: Connection) -> None:
        """Uncounts a connection."""
        client = network_of(address)
        self._count(client, -1)
        self._forget(client, connection)

    def linger(self, client: str, end: Callable[[], None]) -> None:
        """Counts a connection that waits for the rest of a body; if there are too many, ends the client's oldest one.

        Other limits do not cover these: request limits no longer count answered requests, and the connection limit
        exempts proxies.
        """
        waiting = self._lingering.setdefault(client, {})
        waiting[end] = None
        if len(waiting) > _LINGERING:
            longest = next(iter(waiting))
            del waiting[longest]
            longest()

    def stop_lingering(self, client: str, end: Callable[[], None]) -> None:
        """Uncounts a connection whose body has arrived, or is not waited for any more."""
        waiting = self._lingering.get(client, {})
        waiting.pop(end, None)
        if not waiting:
            self._lingering.pop(client, None)

    def dropped(self, reason: Literal["too-many", "unread", "slow"]) -> None:
        """Counts a connection that the service closed without a response, or in the middle of one."""
        if self._metrics is not None:
            self._metrics.connection_dropped(reason)

    def _displaced_for(self, client: str) -> bool:
        """Makes room for a client with fewer connections than another: ends that one's oldest that is not awaited."""
        largest = max(self._open, key=lambda each: len(self._open[each]), default="")
        crowd = self._open.get(largest, {})
        if len(crowd) <= self._by_client[client]:
            return False
        chosen = next((each for each in crowd if not each.awaited), next(iter(crowd)))
        self._forget(largest, chosen)
        self.dropped("too-many")
        chosen.displace()
        return True

    def _forget(self, client: str, connection: Connection) -> None:
        mine = self._open.get(client, {})
        mine.pop(connection, None)
        if not mine:
            self._open.pop(client, None)

    def _count(self, client: str, change: int) -> int:
        """Changes the count of a client; returns the new total."""
        self._by_client[client] += change
        if not self._by_client[client]:
            del self._by_client[client]
        total = self._by_client.total()
        if self._metrics is not None:
            self._metrics.connections(total)
        return total


def most_of_one(wanted: int, limit: int) -> int:
    """Connections of one client, of `limit` in all: as many as are `wanted`, if that leaves a quarter to the others."""
    return min(wanted, max(1, limit * 3 // 4))


def affordable_connections(wanted: int) -> int:
    """How many of the `wanted` connections the limit on open files permits, after raising that limit if possible.

    Two descriptors per connection: it may also have a file open that is being sent.
    """
    needed = 2 * (wanted + RESERVE) + _OWN_FILES
    limit = raised_limit(needed)
    return wanted if limit >= needed else max(1, (int(limit) - _OWN_FILES) // 2 - RESERVE)
