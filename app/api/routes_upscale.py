"""POST, GET and DELETE /upscale."""

from contextlib import ExitStack
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.api import openapi_responses as responses
from app.api.body import BodyLimits, read_picture
from app.api.dependencies import CallerDep, ServiceDep, facts_of, trace_of_request
from app.api.disconnect import unless_client_leaves
from app.api.documents import document_response, job_document
from app.api.negotiation import choose_format, wants_async
from app.api.pictures import COOKIE, link_headers, picture_response, set_cookie
from app.api.schemas import ForgetQuery, ResultQuery
from app.api.tracing import tell_span
from app.api.upscale_query import OptionsDep
from app.errors import MalformedRequest, NotFound
from app.options import UpscaleOptions
from app.results import new_id
from app.service.caller import Caller
from app.service.pipeline import Order, Upload
from app.service.service import Service
from app.service.stages import Stages

router = APIRouter(tags=["upscale"])
_UNKNOWN = "No such result: it never was, has expired, or is not yours. POST the picture again."


@router.post("/upscale", summary="Upscale a picture", response_class=Response, **responses.UPSCALE)
async def upscale(request: Request, options: OptionsDep, service: ServiceDep, caller: CallerDep) -> Response:
    """Answers with the picture, `scale` times as high and wide, or with a job (`Prefer: respond-async`)."""
    order = _order(request, options, service, caller)
    facts_of(request)["model"] = order.network
    if order.options.self_ensemble:
        facts_of(request)["ensemble"] = True
    stages = Stages(service.metrics.stage)
    with ExitStack() as cleanup:
        cleanup.callback(service.quota.enter(caller))
        reservation = service.budget.reserve()
        cleanup.callback(reservation.release)
        with stages.measure("read"):
            upload = Upload(await read_picture(request, _limits(service), reservation), reservation)
        facts_of(request)["bytes_in"] = len(upload.read())
        if wants_async(request.headers.get("prefer", "")):
            job = service.jobs.begin(order, upload, stages, cleanup)
            service.directory.announce(job)
            return _accepted(request, service, order, document_response(job_document(job.snapshot()), 202))
        work = service.jobs.wait_for(order, upload, stages, cleanup)
        upscaled = await unless_client_leaves(request.receive, work)
    picture = upscaled.levels[order.scale]
    facts_of(request).update(height=upscaled.height, width=upscaled.width, stages=stages.milliseconds())
    tell_span(stages.milliseconds())
    response = Response(picture.body, 200, media_type=picture.media_type)
    response.headers["ETag"] = picture.etag
    response.headers["Cache-Control"] = "no-store"
    response.headers["Vary"] = "Accept"
    response.headers["X-Upscale-Model"] = order.network
    response.headers["Server-Timing"] = stages.server_timing()
    if upscaled.truncated:
        response.headers["X-Upscale-Truncated"] = "true"
    if upscaled.left_out:
        response.headers["X-Upscale-Metadata"] = "; ".join(upscaled.left_out)
    if upscaled.stored:
        response.headers.update(link_headers(order.result_id, order.scale, upscaled.levels))
        set_cookie(response, request, order.result_id, service.settings.result_ttl_seconds)
    return response


@router.get("/upscale", summary="Fetch a level of an earlier result", response_class=Response, **responses.RESULT)
async def result(
    request: Request, query: Annotated[ResultQuery, Query()], service: ServiceDep, caller: CallerDep
) -> Response:
    """Answers with the picture that an earlier POST made at this level."""
    result_id = _which(request, query.id)
    service.check_level(query.level, "level")
    picture = await service.store.get(result_id, caller.owner, query.level)
    if picture is None:
        raise NotFound(_UNKNOWN)
    return picture_response(request, picture, query.level)


@router.delete("/upscale", summary="Forget a result", status_code=204, response_class=Response, **responses.FORGET)
async def forget(
    request: Request, query: Annotated[ForgetQuery, Query()], service: ServiceDep, caller: CallerDep
) -> Response:
    """Forgets all levels of a result, and takes the cookie back."""
    if not await service.store.delete(_which(request, query.id), caller.owner):
        raise NotFound(_UNKNOWN)
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path="/upscale", httponly=True, samesite="strict")
    return response


def _order(request: Request, options: UpscaleOptions, service: Service, caller: Caller) -> Order:
    """What is asked for, checked against what is served. Raises BadParameter, NotAcceptable, Draining, WarmingUp."""
    service.require_ready()
    network = service.choose(options.scale, options.model)
    settings = service.settings
    patient = wants_async(request.headers.get("prefer", ""))
    wanted = options.format or choose_format(request.headers.get("accept", ""), strict=not patient)
    return Order(
        replace(options, format=wanted),
        network,
        levels=service.engine.levels(network, options.scale),
        client=caller.name,
        owner=caller.owner,
        result_id=new_id(),
        request_id=trace_of_request(request).request_id,
        deadline_seconds=settings.job_deadline_seconds if patient else settings.deadline_seconds,
    )


def _limits(service: Service) -> BodyLimits:
    settings = service.settings
    return BodyLimits(settings.max_input_bytes, settings.body_idle_seconds, settings.body_timeout_seconds)


def _accepted(request: Request, service: Service, order: Order, response: Response) -> Response:
    """202, with where to look."""
    response.headers["Location"] = f"/jobs/{order.result_id}"
    response.headers["Preference-Applied"] = "respond-async"
    response.headers["X-Upscale-Id"] = order.result_id
    set_cookie(response, request, order.result_id, service.settings.result_ttl_seconds)
    return response


def _which(request: Request, asked: str | None) -> str:
    """The result's id. Raises MalformedRequest, never guesses."""
    result_id = asked or request.cookies.get(COOKIE, "")
    if not result_id:
        raise MalformedRequest(
            "Which result? Give id=, the X-Upscale-Id of an earlier POST /upscale, or send the cookie that it set."
        )
    return result_id
