"""Puts finished pictures into the results store, and explains failures to do so."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Literal

from app.errors import StoreUnavailable
from app.metrics import Metrics
from app.results import ResultStore, StoredPicture, size_of
from app.shares import Shares

RETRY_SECONDS = 0.5
NotKept = Literal["too-large", "full", "unavailable"]
"""Why a result was not stored."""
_TRANSIENT: Mapping[NotKept | None, str] = {"full": "had no memory left", "unavailable": "did not answer"}
"""The reasons that may pass, in words."""


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
        put = partial(self._put, result_id, owner, levels, client)
        problem = await put()
        if problem in _TRANSIENT and patient and size <= self._waiting.room(client):
            self._waiting.add(client, size)
            try:
                problem = await self._retried(put, problem)
            finally:
                self._waiting.remove(client, size)
        if problem is None:
            return ""
        self._metrics.result_not_kept(problem)
        if problem == "too-large":
            return f"The result has {size:,} bytes, more than the results store keeps. Ask for it without a job."
        what = _TRANSIENT[problem]
        return f"The picture was made, but the results store {what}, so it is lost. Send it again a little later."

    async def _put(
        self, result_id: str, owner: str, levels: Mapping[int, StoredPicture], client: str
    ) -> NotKept | None:
        """Why the store did not take the result; None if it did."""
        try:
            return None if await self._store.put(result_id, owner, levels, client) else "too-large"
        except StoreUnavailable as error:
            return "full" if error.full else "unavailable"

    async def _retried(self, put: Callable[[], Awaitable[NotKept | None]], problem: NotKept | None) -> NotKept | None:
        """What `put` returns once the store is available again, or what it last returned when time is up."""
        end = self._clock() + self._patience
        while problem in _TRANSIENT and not self._ending.is_set() and self._clock() < end:
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY_SECONDS):
                    await self._ending.wait()
            problem = await put()
        return problem
