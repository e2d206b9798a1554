"""Puts finished pictures into the results store, and says why where it cannot."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from app.errors import StoreUnavailable
from app.metrics import Metrics
from app.results import ResultStore, StoredPicture

RETRY_SECONDS = 0.5


class Keeper:
    """Stores results, and retries those that only the store can deliver. For use on the event loop."""

    def __init__(
        self,
        store: ResultStore,
        metrics: Metrics,
        max_bytes: int,
        patience_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Patient results are retried for `patience_seconds`; those waiting hold at most `max_bytes` together."""
        self._store = store
        self._metrics = metrics
        self._max_bytes = max_bytes
        self._patience = patience_seconds
        self._clock = clock
        self.waiting_bytes = 0
        """Bytes of the results that are being retried."""
        self._ending = asyncio.Event()

    def hurry(self) -> None:
        """Ends all retries, also later ones: the service is stopping."""
        self._ending.set()

    async def keep(
        self, result_id: str, owner: str, levels: Mapping[int, StoredPicture], *, patient: bool = False
    ) -> str:
        """Stores a result. Returns why it could not be stored, or ""; never raises StoreUnavailable."""
        size = sum(len(picture.body) for picture in levels.values())
        try:
            if await self._store.put(result_id, owner, levels):
                return ""
            self._metrics.result_not_kept("too-large")
            return f"The result has {size:,} bytes, more than the results store keeps. Ask for it without a job."
        except StoreUnavailable as error:
            problem = error
        waits = patient and self.waiting_bytes + size <= self._max_bytes
        if waits and await self._keep_later(result_id, owner, levels, size):
            return ""
        self._metrics.result_not_kept("full" if problem.full else "unavailable")
        what = "had no memory left" if problem.full else "did not answer"
        return f"The picture was made, but the results store {what}, so it is lost. Send it again a little later."

    async def _keep_later(self, result_id: str, owner: str, levels: Mapping[int, StoredPicture], size: int) -> bool:
        """Retries until the store takes it; False when time is up."""
        end = self._clock() + self._patience
        self.waiting_bytes += size
        try:
            while not self._ending.is_set() and self._clock() < end:
                with suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_SECONDS):
                        await self._ending.wait()
                with suppress(StoreUnavailable):
                    return await self._store.put(result_id, owner, levels)
            return False
        finally:
            self.waiting_bytes -= size
