"""POST, GET and DELETE /upscale."""

import asyncio
from contextlib import ExitStack
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.responses import Response

from app.api import openapi_responses as responses
from app.api.addresses import job_address, prefix_of
from app.api.body import BodyLimits, read_picture
from app.api.cookies import COOKIE, expire_cookie, set_cookie
from app.api.dependencies import CallerDep, HeldDep, ServiceDep, facts_of, reader_of, same_site, trace_of_request
from app.api.disconnect import unless_client_leaves
from app.api.documents import document_response, job_document, webhook_document
from app.api.negotiation import acceptable_formats, wants_async
from app.api.pictures import picture_response, upscaled_response
from app.api.schemas import ForgetQuery, IdempotencyKey, ResultQuery, WebhookUrl
from app.api.tracing import record_in_span
from app.api.upscale_query import OptionsDep
from app.errors import BadParameter, MalformedRequest, NotFound, NotReady
from app.options import UpscaleOptions
from app.results import new_id
from app.service.caller import Caller
from app.service.job_snapshot import JobSnapshot
from app.service.pipeline import Order, Upload
from app.service.repeats import fingerprint
from app.service.service import Service
from app.service.stages import Stages
from app.service.webhooks import HEADER

router = APIRouter(tags=["upscale"])
_UNKNOWN = "No such result: it never existed, has expired, or belongs to another client. POST the picture again."


@router.post(
    "/upscale",
    summary="Upscale a picture",
    response_class=Response,
    dependencies=[Depends(same_site)],
    **responses.UPSCALE,
)
async def upscale(
    request: Request,
    options: OptionsDep,
    service: ServiceDep,
    caller: CallerDep,
    held: HeldDep,
    key: Annotated[IdempotencyKey | None, Header(alias="Idempotency-Key")] = None,
    webhook: Annotated[WebhookUrl | None, Header(alias=HEADER)] = None,
) -> Response:
    """Answers with the picture, `scale` times as wide and high, or with a job (`Prefer: respond-async`)."""
    patient = wants_async(request.headers.get("prefer", ""))
    _check_job(service, patient, webhook)
    order = _order(request, options, service, caller, patient)
    if order.options.asked_effort != "standard":
        facts_of(request)["effort"] = order.options.asked_effort
    stages = Stages(service.metrics.stage)
    with ExitStack() as cleanup:
        service.responses.check(caller.name)
        (cleanup if patient else held).callback(service.quota.enter(caller))
        reservation = service.uploads.reserve(caller.name)
        cleanup.callback(reservation.release)
        with stages.measure("read"):
            upload = Upload(await read_picture(request, _limits(service), reservation), reservation)
        facts_of(request)["bytes_in"] = len(upload.read())
        if patient:
            job = await _earlier_job(service, caller, order, upload, key, webhook)
            job = job or _begin_job(request, service, order, upload, stages, cleanup, webhook)
            return _job_response(request, service, job)
        work = service.jobs.wait_for(order, upload, stages, cleanup)
        upscaled = await unless_client_leaves(request.receive, work)
    picture = upscaled.levels[upscaled.level]
    held.callback(service.responses.hold(caller.name, len(picture.body), reader_of(request)))
    facts_of(request).update(
        model=upscaled.network,
        passes=upscaled.passes,
        height=upscaled.height,
        width=upscaled.width,
        clean=picture.clean,
        stages=stages.milliseconds(),
    )
    record_in_span(stages.milliseconds())
    return upscaled_response(request, order, upscaled, stages, service.settings.result_ttl_seconds)


@router.get("/upscale", summary="Fetch a level of an earlier result", response_class=Response, **responses.RESULT)
async def result(
    request: Request, query: Annotated[ResultQuery, Query()], service: ServiceDep, caller: CallerDep, held: HeldDep
) -> Response:
    """Answers with the picture that an earlier POST made at this level."""
    result_id = _result_id(request, query.id)
    service.check_level(query.level)
    held.callback(service.fetches.enter(caller))
    service.responses.check(caller.name)
    with ExitStack() as reading:

        def count(size: int) -> None:
            """Counts the picture while it is read from the store; after that, its response counts."""
            reading.callback(service.responses.hold(caller.name, size))

        picture = await service.store.get(result_id, caller.owner, query.level, count)
        if picture is None and await _made_by_job(service, caller, result_id):
            picture = await service.store.get(result_id, caller.owner, query.level, count)  # stored meanwhile
        if picture is None:
            raise NotFound(_UNKNOWN)
    response = picture_response(request, picture, query.level)
    part_of = picture.body if 0 < len(response.body) < len(picture.body) else None
    held.callback(service.responses.hold(caller.name, len(response.body), reader_of(request), part_of))
    return response


@router.delete("/upscale", summary="Forget a result", status_code=204, response_class=Response, **responses.FORGET)
async def forget(
    request: Request, query: Annotated[ForgetQuery, Query()], service: ServiceDep, caller: CallerDep
) -> Response:
    """Forgets all levels of a result, and expires the cookie."""
    if not await service.store.delete(_result_id(request, query.id), caller.owner):
        raise NotFound(_UNKNOWN)
    response = Response(status_code=204)
    expire_cookie(response, request)
    return response


def _check_job(service: Service, patient: bool, webhook: str | None) -> None:
    """Raises BadParameter for a job (`patient`) where there are none, and for a webhook without one or not allowed."""
    if patient and not service.settings.result_max_bytes:
        raise BadParameter("Prefer: no results are kept here, so there are no jobs; send it without respond-async.")
    if webhook is not None:
        if not patient:
            raise BadParameter(f"{HEADER}: only jobs have webhooks; send Prefer: respond-async with it.")
        service.webhooks.check(webhook)


def _order(request: Request, options: UpscaleOptions, service: Service, caller: Caller, patient: bool) -> Order:
    """The request's order, checked against the served networks; `patient` clients get a job.

    Raises BadParameter, NotAcceptable, Draining, WarmingUp.
    """
    service.require_ready()
    if network := service.check(options):
        facts_of(request)["model"] = network
    settings = service.settings
    accept = request.headers.get("accept", "")
    return Order(
        options,
        client=caller.name,
        owner=caller.owner,
        result_id=new_id(),
        request_id=trace_of_request(request).request_id,
        deadline_seconds=settings.job_deadline_seconds if patient else settings.deadline_seconds,
        formats=(options.format,) if options.format else acceptable_formats(accept, strict=not patient),
    )


def _limits(service: Service) -> BodyLimits:
    settings = service.settings
    return BodyLimits(settings.max_input_bytes, settings.body_idle_seconds, settings.body_timeout_seconds)


async def _earlier_job(
    service: Service, caller: Caller, order: Order, upload: Upload, key: str | None, webhook: str | None
) -> JobSnapshot | None:
    """The job that an earlier request with this Idempotency-Key began; None if the caller must begin it at once.

    Raises BadParameter if that request asked for something else, and StoreUnavailable.
    """
    if not key:
        return None
    asked = await asyncio.to_thread(fingerprint, order, upload.read(), webhook or "")  # 32 MiB take 20 ms or more
    known = await service.repeats.find(key, caller, asked, order.result_id)
    return None if known is None else known.snapshot


def _begin_job(
    request: Request,
    service: Service,
    order: Order,
    upload: Upload,
    stages: Stages,
    cleanup: ExitStack,
    webhook: str | None,
) -> JobSnapshot:
    """Starts a new job, whose end is reported to `webhook`. Raises QueueFull, TooManyRequests or Draining."""
    prefix = prefix_of(request.scope)
    with ExitStack() as unless_begun:
        hook = None
        if webhook is not None:
            hook = service.webhooks.reserve(order.client, webhook, lambda job: webhook_document(job, prefix))
            unless_begun.callback(hook.release)
        job = service.jobs.begin(order, upload, stages, cleanup, hook)
        unless_begun.pop_all()
    service.directory.announce(job)
    return job.snapshot()


def _job_response(request: Request, service: Service, job: JobSnapshot) -> Response:
    """202 with the address of the job."""
    prefix = prefix_of(request.scope)
    response = document_response(job_document(job, prefix), 202)
    response.headers["Location"] = job_address(prefix, job.id)
    response.headers["Preference-Applied"] = "respond-async"
    response.headers["X-Upscale-Id"] = job.id
    set_cookie(response, request, job.id, service.settings.result_ttl_seconds)
    return response


async def _made_by_job(service: Service, caller: Caller, result_id: str) -> bool:
    """Whether a finished job made this result. Raises NotReady if the job is still under way."""
    try:
        job = (await service.directory.find(result_id, caller.owner)).snapshot
    except NotFound:
        return False
    if not job.finished:
        progress = f"{job.done_tiles} of {job.total_tiles} tiles are done" if job.total_tiles else "it has not begun"
        raise NotReady(f"The job for this picture is not finished: {progress}. Try again when it is done.", job.id)
    return job.state == "done"


def _result_id(request: Request, asked: str | None) -> str:
    """The id from the query, otherwise from the cookie. Raises MalformedRequest without either."""
    result_id = asked or request.cookies.get(COOKIE, "")
    if not result_id:
        raise MalformedRequest(
            "No result is named. Set id= to the X-Upscale-Id of an earlier POST /upscale, or send the cookie that it "
            "set."
        )
    return result_id
