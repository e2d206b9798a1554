"""Results in this process's memory, with a byte limit, a TTL, and eviction of the largest user's LRU result."""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.results.base import StoredPicture, StoreState, ignore, size_of, storage_key
from app.shares import Shares


@dataclass(frozen=True, slots=True)
class _Entry:
    levels: Mapping[int, StoredPicture]
    size: int
    client: str


class MemoryStore:
    """A ResultStore for one process. All methods run on the event loop and never block."""

    def __init__(self, max_bytes: int, ttl_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Keeps at most `max_bytes` of picture bytes, each for `ttl_seconds`; `clock` is in seconds."""
        self._max_bytes = max_bytes
        self._ttl = ttl_seconds
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._by_client: dict[str, OrderedDict[str, None]] = {}  # client -> keys, least recently used first
        self._expires: OrderedDict[str, float] = OrderedDict()  # key -> expiry time, ascending
        self._shares = Shares(max_bytes)

    async def put(self, result_id: str, owner: str, levels: Mapping[int, StoredPicture], client: str = "") -> bool:
        """See ResultStore. A result that is not kept evicts nothing."""
        size = size_of(levels)
        key = storage_key(result_id, owner)
        self._drop(key)
        self.expire()
        others = self._shares.total - self._shares.of(client)
        if self._max_bytes < min(2 * size, size + others):
            return False
        self._shares.add(client, size)
        while self._shares.total > self._max_bytes:
            largest = max(self._by_client, key=self._shares.of)
            self._drop(next(iter(self._by_client[largest])))
        self._entries[key] = _Entry(dict(levels), size, client)
        self._by_client.setdefault(client, OrderedDict())[key] = None
        self._expires[key] = self._clock() + self._ttl
        return True

    async def get(
        self, result_id: str, owner: str, level: int, before_reading: Callable[[int], None] = ignore
    ) -> StoredPicture | None:
        """See ResultStore. Reading makes a result the most recently used, but does not extend its TTL."""
        self.expire()
        key = storage_key(result_id, owner)
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._by_client[entry.client].move_to_end(key)
        return entry.levels.get(level)

    async def delete(self, result_id: str, owner: str) -> bool:
        """See ResultStore."""
        self.expire()
        return self._drop(storage_key(result_id, owner))

    def start(self) -> None:
        """Does nothing."""

    async def available(self) -> bool:
        """Always True."""
        return True

    @property
    def state(self) -> StoreState:
        """Always "ok"."""
        return "ok"

    @property
    def size_bytes(self) -> int:
        """Picture bytes held now, without expired ones."""
        self.expire()
        return self._shares.total

    async def close(self) -> None:
        """Forgets everything."""
        for key in list(self._entries):
            self._drop(key)

    def expire(self) -> None:
        """Drops expired results."""
        now = self._clock()
        while self._expires:
            key, expires = next(iter(self._expires.items()))
            if expires > now:
                return
            self._drop(key)

    def _drop(self, key: str) -> bool:
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        del self._expires[key]
        self._shares.remove(entry.client, entry.size)
        own = self._by_client[entry.client]
        del own[key]
        if not own:
            del self._by_client[entry.client]
        return True
