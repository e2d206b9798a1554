"""The FastAPI application of a service: routers, middleware, handlers."""

import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import Depends, FastAPI
from starlette.middleware.cors import CORSMiddleware

from app.api import handlers, routes_jobs, routes_operations, routes_upscale
from app.api.access import Access
from app.api.dependencies import once_each
from app.api.entrance import Entrance
from app.api.fallback import Fallback
from app.api.head import HeadAsGet
from app.api.hosts import KnownHosts, names_of
from app.api.middleware import RequestEnvelope
from app.api.openapi import complete
from app.api.routes_docs import mount_docs
from app.api.routes_page import mount_page
from app.api.scrape import Scrape, ScrapeOfOne, SharedScrape
from app.api.tracing import untraced
from app.api.turnstile import Turnstile
from app.service.service import Service

_EXPOSED = [
    "X-Upscale-Clean",
    "X-Upscale-Id",
    "X-Upscale-Metadata",
    "X-Upscale-Model",
    "X-Upscale-Truncated",
    "Content-Disposition",
    "Content-Location",
    "Content-Range",
    "Link",
    "Location",
    "Preference-Applied",
    "ETag",
    "Server-Timing",
    "X-Request-Id",
    "Retry-After",
]
_DESCRIPTION = (
    "Pictures two, four and eight times as large, by a Laplacian-pyramid network. One pass makes every level; errors "
    "are RFC 9457 problem documents. Every GET has a HEAD."
)


def build_metrics_application(service: Service, scrape: Scrape | None = None) -> FastAPI:
    """An application for a separate port, with the metrics and health of `service`, which it neither starts nor stops.

    `Host` is not checked, as replicas request each other's metrics under other names. `scrape` provides the metrics; by
    default those of this process.
    """
    app = FastAPI(title="LapSRN metrics", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.service = service
    app.state.scrape = scrape or SharedScrape(ScrapeOfOne(service))
    app.include_router(routes_operations.health)
    app.include_router(routes_operations.metrics_router)
    handlers.install(app)
    app.add_middleware(HeadAsGet)
    app.add_middleware(Fallback)
    app.add_middleware(RequestEnvelope, metrics=service.metrics)
    return app


def build_application(service: Service, access: Access, version: str, page: Path | None) -> FastAPI:
    """The application. Its lifespan starts and stops `service`; `page` is the folder of the web page, if there is one.

    Replicas change its state: `scrape` provides the metrics, `reloaded` is called after a reload by a client, and with
    `hold` the lifespan's startup waits until the service is warm.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        if app.state.hold:
            await service.warmed()
        try:
            yield
        finally:
            await service.stop()

    tracing = service.settings.tracing
    app = FastAPI(
        title="LapSRN upscaling service",
        version=version,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        telemetry={
            "tracing": tracing,
            "auto_configure": tracing,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "exclude": functools.partial(untraced, service.settings.root_path),
        },
    )
    app.state.service = service
    app.state.access = access
    app.state.scrape = SharedScrape(ScrapeOfOne(service))
    app.state.events = Turnstile()
    app.state.reloaded = lambda: None
    app.state.hold = False
    app.include_router(routes_upscale.router, dependencies=[Depends(once_each)])
    app.include_router(routes_jobs.router, dependencies=[Depends(once_each)])
    app.include_router(routes_operations.router)
    app.include_router(routes_operations.health)
    if service.settings.metrics_port is None:
        app.include_router(routes_operations.metrics_router)
    mount_docs(app)
    if page is not None:
        mount_page(app, page)
    handlers.install(app)
    _add_middleware(app, service)
    complete(app)
    return app


def _add_middleware(app: FastAPI, service: Service) -> None:
    """Adds the middleware, innermost first."""
    app.add_middleware(HeadAsGet)
    app.add_middleware(KnownHosts, names=names_of(service.settings))
    app.add_middleware(Fallback)  # within the others, so that its responses have the headers that they add
    if service.settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(service.settings.cors_origins),
            allow_methods=["GET", "HEAD", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=_EXPOSED,
        )
    app.add_middleware(RequestEnvelope, metrics=service.metrics, root_path=service.settings.root_path)
    app.add_middleware(Entrance)
