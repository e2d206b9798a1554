"""What a scrape of the metrics answers."""

import asyncio
from collections.abc import Awaitable, Callable

from app.service.service import Service

Scrape = Callable[[str], Awaitable[tuple[bytes, str]]]
"""From the Accept header to the body and its content type."""
_OPENMETRICS = "application/openmetrics-text"


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
    """One scrape at a time, for all who asked before it began.

    A scrape takes milliseconds of the event loop, and with replicas several times as many, and anybody may ask for it.
    """

    def __init__(self, scrape: Scrape) -> None:
        """`scrape` is what is shared."""
        self._scrape = scrape
        self._turn = asyncio.Lock()
        self._to_come: dict[str, asyncio.Task[tuple[bytes, str]]] = {}
        """By dialect, the scrapes that have not begun."""

    async def __call__(self, accept: str) -> tuple[bytes, str]:
        """As `Scrape`."""
        dialect = dialect_of(accept)
        if dialect not in self._to_come:
            self._to_come[dialect] = asyncio.create_task(self._next(dialect))
        return await asyncio.shield(self._to_come[dialect])

    async def _next(self, dialect: str) -> tuple[bytes, str]:
        async with self._turn:
            del self._to_come[dialect]
            return await self._scrape(dialect)


def dialect_of(accept: str) -> str:
    """What to ask the metrics for: OpenMetrics, where `accept` has it in version 1.0.0 or in none, or "" for text.

    prometheus_client fails on versions that are no numbers, and sends others back as they came.
    """
    for part in accept.lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        versions = [each for each in parameters if each.startswith("version=")]
        if kind == _OPENMETRICS and versions in ([], ["version=1.0.0"]):
            return _OPENMETRICS
    return ""
