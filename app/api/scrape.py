"""What a scrape of the metrics answers."""

from collections.abc import Awaitable, Callable

from app.service.service import Service

Scrape = Callable[[str], Awaitable[tuple[bytes, str]]]
"""From the Accept header to the body and its content type."""


class ScrapeOfOne:
    """The metrics of this process."""

    def __init__(self, service: Service) -> None:
        """`service` brings its gauges up to date before each scrape."""
        self._service = service

    async def __call__(self, accept: str) -> tuple[bytes, str]:
        """As `Scrape`."""
        self._service.measure()
        return self._service.metrics.expose(accept)
