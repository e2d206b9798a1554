"""Puts finished pictures into the results store, and explains failures to do so."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from app.errors import StoreUnavailable
from app.metrics import Metrics
from app.results import ResultStore, StoredPicture, size_of
from app.shares import Shares

RETRY_SECONDS = 0.5


class Keeper:
    """Stores results, and retries those that only the store can deliver. Used on the event loop only."""

    def __init__(
        self,
        store: ResultStore,
        metrics: Metrics,
        max_bytes: int,
        patience_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Patient results are retried for `patience_seconds`. Those of one client alone may hold `max_bytes` meanwhile;
        see Shares for several.
        """
        self._store = store
        self._metrics = metrics
        self._waiting = Shares(max_bytes)
        self._patience = patience_seconds
        self._clock = clock
        self._ending = asyncio.Event()

    @property
    def waiting_bytes(self) -> int:
        """Bytes of results that are being retried."""
        return self._waiting.total

    def hurry(self) -> None:
        """Stops all retries, including future ones: the service is stopping."""
        self._ending.set()

    async def keep(
        self,
        result_id: str,
        owner: str,
        levels: Mapping[int, StoredPicture],
        *,
        client: str = "",
        patient: bool = False,
    ) -> str:
        """Stores a result of `client`. Returns "", or why it could not be stored; never raises StoreUnavailable.

        With `patient`, it is retried while the store is unavailable.
        """
        size = size_of(levels)
        try:
            if await self._store.put(result_id, owner, levels, client):
                return ""
            self._metrics.result_not_kept("too-large")
            return f"The result has {size:,} bytes, more than the results store keeps. Ask for it without a job."
        except StoreUnavailable as error:
            problem = error
        if patient and size <= self._waiting.room(client):
            self._waiting.add(client, size)
            try:
                if await self._keep_later(result_id, owner, levels, client):
                    return ""
            finally:
                self._waiting.remove(client, size)
        self._metrics.result_not_kept("full" if problem.full else "unavailable")
        what = "had no memory left" if problem.full else "did not answer"
        return f"The picture was made, but the results store {what}, so it is lost. Send it again a little later."

    async def _keep_later(self, result_id: str, owner: str, levels: Mapping[int, StoredPicture], client: str) -> bool:
        """Retries until the store answers: True if it keeps the result. False when time is up."""
        end = self._clock() + self._patience
        while not self._ending.is_set() and self._clock() < end:
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY_SECONDS):
                    await self._ending.wait()
            with suppress(StoreUnavailable):
                return await self._store.put(result_id, owner, levels, client)
        return False
