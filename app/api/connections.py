"""How many connections there may be: in all, and from one client; a few more are kept back for probes."""

from collections import Counter
from collections.abc import Callable
from typing import Literal

from app.api.access import network_of
from app.metrics import Metrics
from app.process.open_files import raised_limit

PROBES = ("/healthz", "/readyz", "/metrics")
"""Addresses that orchestrators and Prometheus ask for."""
RESERVE = 32
"""Connections beyond the limit, which are answered only if they ask for one of PROBES."""
_LINGERING = 64
"""Connections of a client, also through a proxy, on which what is left of a body may be waited for."""
_OWN_FILES = 192
"""Descriptors for everything that is no connection: decoder processes, libraries, standard streams, Redis."""

Admission = Literal["open", "probes", "refused"]


class Connections:
    """Counts those of one port. Lives on the event loop."""

    def __init__(
        self,
        limit: int,
        per_client: int,
        is_proxy: Callable[[str], bool] = lambda address: False,
        metrics: Metrics | None = None,
        leaving: Callable[[], bool] = lambda: False,
    ) -> None:
        """`limit` is for all together, `per_client` for each network (see `network_of`) but those of proxies.

        `metrics` gets their number. `leaving` says whether the service is about to stop: then each
        connection ends with its next answer.
        """
        self._limit, self._per_client = limit, per_client
        self._metrics, self._is_proxy = metrics, is_proxy
        self.leaving = leaving
        self._by_client: Counter[str] = Counter()
        self._lingering: dict[str, dict[Callable[[], None], None]] = {}  # what ends them, the oldest first

    def enter(self, address: str) -> Admission:
        """Counts one more, also if it is refused; `leave` counts it out."""
        total = self._count(address, 1)
        crowd = self._by_client[network_of(address)] > self._per_client and not self._is_proxy(address)
        if crowd or total > self._limit + RESERVE:
            self.dropped("too-many")
            return "refused"
        return "open" if total <= self._limit else "probes"

    def leave(self, address: str) -> None:
        """Counts one out."""
        self._count(address, -1)

    def linger(self, client: str, end: Callable[[], None]) -> None:
        """A connection of this client waits for the rest of a body; of too many, the one that has waited longest ends.

        The limits on requests no longer count what has been answered, and that on connections exempts proxies.
        """
        waiting = self._lingering.setdefault(client, {})
        waiting[end] = None
        if len(waiting) > _LINGERING:
            longest = next(iter(waiting))
            del waiting[longest]
            longest()

    def stop_lingering(self, client: str, end: Callable[[], None]) -> None:
        """The rest has come, or is not waited for any more."""
        waiting = self._lingering.get(client, {})
        waiting.pop(end, None)
        if not waiting:
            self._lingering.pop(client, None)

    def dropped(self, reason: Literal["too-many", "unread", "slow"]) -> None:
        """The service closed a connection without an answer, or in the middle of one."""
        if self._metrics is not None:
            self._metrics.connection_dropped(reason)

    def _count(self, address: str, change: int) -> int:
        """The new total."""
        client = network_of(address)
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
    """How many of the `wanted` connections the limit on open files allows; raises that limit as far as it may.

    Each connection may have a file open that is being sent.
    """
    needed = 2 * (wanted + RESERVE) + _OWN_FILES
    limit = raised_limit(needed)
    return wanted if limit >= needed else max(1, (int(limit) - _OWN_FILES) // 2 - RESERVE)
