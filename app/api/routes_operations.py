"""Health, readiness, metrics, the model, and its reload."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api import openapi_responses as responses
from app.api.dependencies import AdminDep, ServiceDep
from app.api.documents import NO_STORE, document_response
from app.api.schemas import Health, InputLimits, ModelDocument, Network, Readiness, Worker
from app.service.service import ModelFacts, Served, Service

health = APIRouter(tags=["operations"])
metrics_router = APIRouter(tags=["operations"])
router = APIRouter(tags=["operations"])


@health.get("/healthz", summary="Liveness", response_model=Health, **responses.HEALTH)
async def healthz(service: ServiceDep) -> Response:
    """200 while the scheduler and at least one worker live."""
    alive = service.alive
    return document_response(Health(status="ok" if alive else "dead"), 200 if alive else 503)


@health.get("/readyz", summary="Readiness", response_model=Readiness, **responses.READY)
async def readyz(service: ServiceDep) -> Response:
    """200 once the weights are loaded and warm, until the service is told to stop; a missing store only degrades it."""
    stored = await service.store.available()
    ready = service.phase == "ready" and service.alive
    status = "degraded" if ready and not stored else "dead" if service.phase == "ready" and not ready else service.phase
    document = Readiness(status=status, store="ok" if stored else "unavailable")
    return document_response(document, 200 if ready else 503, {} if ready else {"Retry-After": "5"})


@metrics_router.get("/metrics", summary="Prometheus metrics", response_class=Response, **responses.METRICS)
async def metrics(request: Request, service: ServiceDep) -> Response:
    """In Prometheus's text format, or OpenMetrics if Accept asks for it."""
    service.measure()
    body, content_type = service.metrics.expose(request.headers.get("accept", ""))
    return Response(body, headers={**NO_STORE, "Content-Type": content_type})


@router.get("/model", summary="What is served", response_model=ModelDocument, **responses.MODEL)
async def model(service: ServiceDep) -> Response:
    """Every network with levels, margin, weights and scores; device, arithmetic, workers, limits on what comes in."""
    return document_response(_describe(service, service.served))


@router.post("/admin/reload", summary="Swap the weights", response_model=ModelDocument, **responses.RELOAD)
async def reload(service: ServiceDep, admin: AdminDep) -> Response:
    """Loads the weights file again. No request is lost; if the file does not pass its checks, nothing changes."""
    return document_response(_describe(service, await service.reload()))


def _describe(service: Service, served: Served) -> ModelDocument:
    settings = service.settings
    networks = [_network(facts, details) for facts, details in served.networks]
    workers = [
        Worker(name=worker.name, device=worker.device, up=worker.up, restarts=worker.restarts)
        for worker in served.engine.status().workers
    ]
    limits = InputLimits(
        max_input_bytes=settings.max_input_bytes,
        max_input_pixels=settings.max_input_pixels,
        max_output_pixels=settings.max_output_pixels,
        formats=list(settings.formats),
    )
    return ModelDocument(
        **dict(networks[0]),
        models=networks,
        device=served.facts.device,
        dtype=served.facts.dtype,
        workers=workers,
        limits=limits,
    )


def _network(facts: ModelFacts, details: Mapping[str, Any]) -> Network:
    return Network(
        name=facts.name,
        levels=list(facts.scales),
        margin=facts.margin,
        sha256=str(details.get("sha256", "")),
        scores=details.get("scores", {}),
    )
