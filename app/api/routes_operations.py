"""Health, readiness, metrics, the model, and its reload."""

import asyncio
from collections.abc import Mapping

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api import openapi_responses as responses
from app.api.dependencies import AccessDep, AdminDep, ServiceDep
from app.api.documents import NO_STORE, document_response
from app.api.schemas import Health, InputLimits, ModelDocument, Network, Readiness, Worker
from app.api.scrape import Scrape
from app.codec.formats import readable
from app.engine import Engine, NetworkInfo
from app.service.clean_up import strengths_of
from app.service.service import Service

health = APIRouter(tags=["operations"])
metrics_router = APIRouter(tags=["operations"])
router = APIRouter(tags=["operations"])


@health.get("/healthz", summary="Liveness", response_model=Health, **responses.HEALTH)
async def healthz(service: ServiceDep) -> Response:
    """200 while the scheduler and at least one worker are alive."""
    alive = service.alive
    return document_response(Health(status="ok" if alive else "dead"), 200 if alive else 503)


@health.get("/readyz", summary="Readiness", response_model=Readiness, **responses.READY)
async def readyz(service: ServiceDep) -> Response:
    """200 once the weights are warm and pictures can be decoded, until the service is asked to stop.

    If the results store is unavailable, the status is only `degraded`.
    """
    document = Readiness(status=service.readiness, store=service.store.state, decoders=service.decoders)
    ready = document.status in ("ready", "degraded")
    return document_response(document, 200 if ready else 503, {} if ready else {"Retry-After": "5"})


@metrics_router.get("/metrics", summary="Prometheus metrics", response_class=Response, **responses.METRICS)
async def metrics(request: Request) -> Response:
    """In Prometheus's text format, or OpenMetrics if Accept asks for it; of all replicas, each with its own label."""
    scrape: Scrape = request.app.state.scrape
    body, content_type = await scrape(request.headers.get("accept", ""))
    return Response(body, headers={**NO_STORE, "Content-Type": content_type})


@router.get("/model", summary="What is served", response_model=ModelDocument, **responses.MODEL)
async def model(service: ServiceDep) -> Response:
    """Every network with its levels, margin, weights and scores; the device, data type, workers, and input limits."""
    return document_response(_describe(service, service.accepting_engine))


@router.post("/admin/reload", summary="Swap keys and weights", response_model=ModelDocument, **responses.RELOAD)
async def reload(request: Request, service: ServiceDep, access: AccessDep, admin: AdminDep) -> Response:
    """Reads LAPSRN_API_KEYS_FILE again, if it is set, and then the weights; no request is lost.

    A file that does not pass its checks changes nothing, and ends the call. With several replicas, the response comes
    when one has reloaded, and the others follow.
    """
    await asyncio.to_thread(access.reload)
    document = _describe(service, await service.reload())
    request.app.state.reloaded()
    return document_response(document)


def _describe(service: Service, engine: Engine) -> ModelDocument:
    settings = service.settings
    networks = [_network(engine.networks, info) for info in engine.networks.values()]
    workers = [
        Worker(name=worker.name, device=worker.device, up=worker.up, restarts=worker.restarts)
        for worker in engine.status().workers
    ]
    limits = InputLimits(
        max_input_bytes=settings.max_input_bytes,
        max_input_pixels=settings.max_input_pixels,
        max_output_pixels=settings.max_output_pixels,
        formats=list(readable(settings.formats)),
    )
    return ModelDocument(
        **dict(networks[0]),
        models=networks,
        device=engine.first.device,
        dtype=engine.first.dtype,
        workers=workers,
        limits=limits,
    )


def _network(networks: Mapping[str, NetworkInfo], info: NetworkInfo) -> Network:
    return Network(
        name=info.name,
        purpose=info.purpose,
        clean=bool(strengths_of(networks, info)),
        full_strength_of=info.full_strength_of,
        deep_of=info.deep_of,
        levels=list(info.scales),
        margin=info.margin,
        sha256=info.sha256,
        scores=dict(info.scores),
    )
