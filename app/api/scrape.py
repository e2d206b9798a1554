"""What a scrape of the metrics answers."""

import asyncio
from collections.abc import Awaitable, Callable

from app.api.negotiation import beginning_of
from app.service.service import Service

Scrape = Callable[[str], Awaitable[tuple[bytes, str]]]
"""From the Accept header to the body and its content type."""
_OPENMETRICS = "application/openmetrics-text"
_REST = 2
"""So many times as long as a scrape took, the next one waits."""


class ScrapeOfOne:
    """The metrics of this process."""

    def __init__(self, service: Service) -> None:
        """`service` brings its gauges up to date before each scrape."""
        self._service = service

    async def __call__(self, accept: str) -> tuple[bytes, str]:
        """As `Scrape`."""
        self._service.measure()
        return self._service.metrics.expose(accept)


class SharedScrape:
    """One scrape at a time, for all who asked before it began, and a rest after it; see _REST.

    A scrape takes milliseconds of the event loop, and with replicas several times as many, and anybody may ask for it.
    """

    def __init__(self, scrape: Scrape) -> None:
        """`scrape` is what is shared."""
        self._scrape = scrape
        self._turn = asyncio.Lock()
        self._rested_at = 0.0
        self._to_come: dict[str, asyncio.Task[tuple[bytes, str]]] = {}
        """By dialect, the scrapes that have not begun."""

    async def __call__(self, accept: str) -> tuple[bytes, str]:
        """As `Scrape`."""
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
    """What to ask the metrics for: OpenMetrics, where `accept` has it in version 1.0.0 or in none, or "" for text.

    prometheus_client fails on versions that are no numbers, and sends others back as they came.
    """
    for part in beginning_of(accept).lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        versions = [each for each in parameters if each.startswith("version=")]
        if kind == _OPENMETRICS and versions in ([], ["version=1.0.0"]):
            return _OPENMETRICS
    return ""
