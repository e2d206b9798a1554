"""Answers scrapes of the metrics."""

import asyncio
from collections.abc import Awaitable, Callable

from app.api.negotiation import beginning_of
from app.service.service import Service

Scrape = Callable[[str], Awaitable[tuple[bytes, str]]]
"""Accept header -> (body, content type)."""
_OPENMETRICS = "application/openmetrics-text"
_REST = 2
"""The pause after a scrape, in multiples of its duration."""


class ScrapeOfOne:
    """The metrics of this process."""

    def __init__(self, service: Service) -> None:
        """The gauges of `service` are updated before each scrape."""
        self._service = service

    async def __call__(self, accept: str) -> tuple[bytes, str]:
        """See Scrape."""
        self._service.measure()
        return self._service.metrics.expose(accept)


class SharedScrape:
    """Runs one scrape at a time, for all requests that came before it, with a pause after it; see _REST.

    A scrape blocks the event loop for milliseconds, with replicas for several times as long, and anybody may request
    one.
    """

    def __init__(self, scrape: Scrape) -> None:
        """`scrape` is the shared scrape."""
        self._scrape = scrape
        self._turn = asyncio.Lock()
        self._rested_at = 0.0
        self._to_come: dict[str, asyncio.Task[tuple[bytes, str]]] = {}
        """Dialect -> scrape that has not begun."""

    async def __call__(self, accept: str) -> tuple[bytes, str]:
        """See Scrape."""
        dialect = dialect_of(accept)
        if dialect not in self._to_come:
            self._to_come[dialect] = asyncio.create_task(self._next(dialect))
        return await asyncio.shield(self._to_come[dialect])

    async def _next(self, dialect: str) -> tuple[bytes, str]:
        now = asyncio.get_running_loop().time
        async with self._turn:
            await asyncio.sleep(self._rested_at - now())
            del self._to_come[dialect]
            began = now()
            try:
                return await self._scrape(dialect)
            finally:
                self._rested_at = now() + _REST * (now() - began)


def dialect_of(accept: str) -> str:
    """The Accept header for prometheus_client: OpenMetrics if `accept` has it in version 1.0.0 or without a version,
    otherwise "" for text.

    prometheus_client fails on versions that are not numbers, and echoes others.
    """
    for part in beginning_of(accept).lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        versions = [each for each in parameters if each.startswith("version=")]
        if kind == _OPENMETRICS and versions in ([], ["version=1.0.0"]):
            return _OPENMETRICS
    return ""
