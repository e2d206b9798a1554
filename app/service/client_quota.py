"""Limits per client: concurrent requests, concurrent fetches, and requests per minute."""

import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from app.errors import TooManyRequests
from app.service.caller import Caller

MAX_BUCKETS = 65_536
"""Clients whose token bucket is kept; about 16 MB."""


class UnderWay:
    """Counts operations under way, by client. Used on the event loop only."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def of(self, client: str) -> int:
        """The count of one client."""
        return self._counts[client]

    def total(self) -> int:
        """The count of all clients."""
        return self._counts.total()

    def enter(self, client: str) -> Callable[[], None]:
        """Counts one more; call the returned function once, when it ends."""
        self._counts[client] += 1
        return lambda: self._leave(client)

    def _leave(self, client: str) -> None:
        self._counts[client] -= 1
        if not self._counts[client]:
            del self._counts[client]


class FetchQuota:
    """Limits what a client fetches concurrently: levels, job states and event streams."""

    def __init__(self, limit: int) -> None:
        """`limit` applies to each client."""
        self._limit = limit
        self._under_way = UnderWay()

    def enter(self, caller: Caller) -> Callable[[], None]:
        """Counts a fetch of `caller`; call the returned function once, when it ends. Raises TooManyRequests."""
        if self._under_way.of(caller.name) >= self._limit:
            raise TooManyRequests(
                f"You are fetching {self._limit} pictures, states and event streams at once, which is the limit. "
                "Wait for one to end.",
                retry_after=1.0,
            )
        return self._under_way.enter(caller.name)

    def under_way(self) -> int:
        """Fetches in progress, of all clients."""
        return self._under_way.total()


@dataclass(slots=True)
class _Bucket:
    """A token bucket: it held `tokens` at time `at`, in seconds."""

    tokens: float
    at: float


class ClientQuota:
    """Counts requests under way and keeps one token bucket per client. Used on the event loop only."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds."""
        self._clock = clock
        self._under_way = UnderWay()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()  # least recently used first

    def enter(self, caller: Caller) -> Callable[[], None]:
        """Counts a request of `caller`; call the returned function once, when it ends. Raises TooManyRequests."""
        name = caller.name
        if self._under_way.of(name) >= caller.max_concurrent:
            raise TooManyRequests(
                f"You have {caller.max_concurrent} requests under way, which is the limit. Wait for one to end.",
                retry_after=1.0,
            )
        if caller.requests_per_minute:
            self._spend(name, caller.requests_per_minute)
        return self._under_way.enter(name)

    def under_way(self) -> int:
        """Requests in progress, of all clients."""
        return self._under_way.total()

    def _spend(self, name: str, per_minute: int) -> None:
        """Takes one token from the client's bucket, which holds a minute's worth and refills at a constant rate.

        A bucket that was not used for a minute is full, just like a new one, so it is dropped.
        """
        now = self._clock()
        bucket = self._buckets.setdefault(name, _Bucket(float(per_minute), now))
        bucket.tokens = min(float(per_minute), bucket.tokens + (now - bucket.at) * per_minute / 60.0)
        bucket.at = now
        self._buckets.move_to_end(name)
        while len(self._buckets) > MAX_BUCKETS or now - next(iter(self._buckets.values())).at >= 60.0:
            self._buckets.popitem(last=False)
        if bucket.tokens < 1.0:
            wait = (1.0 - bucket.tokens) * 60.0 / per_minute
            raise TooManyRequests(
                f"You may send {per_minute} upscales a minute. Wait {math.ceil(wait)} s.", retry_after=wait
            )
        bucket.tokens -= 1.0
