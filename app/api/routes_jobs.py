"""GET and DELETE /jobs/{job_id}, and its events."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Header, Path, Request
from fastapi.responses import StreamingResponse
from starlette.responses import Response

from app.api import openapi_responses as responses
from app.api.addresses import prefix_of
from app.api.dependencies import CallerDep, HeldDep, ServiceDep
from app.api.documents import document_response, job_document
from app.api.schemas import JobDocument, JobId
from app.api.turnstile import Turnstile
from app.service.job_view import JobView

router = APIRouter(prefix="/jobs", tags=["jobs"])
_STREAM = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""Events are not cached, and not buffered by nginx."""
JobPath = Annotated[JobId, Path(description="From the Location of the 202 response.")]


@router.get("/{job_id}", summary="State of a job", response_model=JobDocument, **responses.JOB)
async def state(request: Request, job_id: JobPath, service: ServiceDep, caller: CallerDep, held: HeldDep) -> Response:
    """State, progress in tiles and time left."""
    held.callback(service.fetches.enter(caller))
    job = await service.directory.find(job_id, caller.owner)
    return document_response(job_document(job.snapshot, prefix_of(request.scope)))


@router.get("/{job_id}/events", summary="State of a job, as it changes", response_class=Response, **responses.EVENTS)
async def events(
    request: Request,
    job_id: JobPath,
    service: ServiceDep,
    caller: CallerDep,
    held: HeldDep,
    last_event_id: Annotated[int, Header(ge=0, description="The last event that was seen.")] = 0,
) -> Response:
    """Server-sent events named `state`, each with the whole document; the stream ends with the job.

    An EventSource reconnects whenever a stream ends, here every second, until the response is a 204.
    """
    held.callback(service.fetches.enter(caller))
    job = await service.directory.find(job_id, caller.owner)
    if job.snapshot.finished and job.snapshot.version == last_event_id:
        return Response(status_code=204, headers={"Cache-Control": "no-store"})
    turnstile: Turnstile = request.app.state.events
    stream = state_events(
        job,
        last_event_id,
        service.settings.heartbeat_seconds,
        prefix_of(request.scope),
        lambda: turnstile.passed(caller.name),
    )
    return StreamingResponse(stream, headers=_STREAM, media_type="text/event-stream")


@router.delete("/{job_id}", summary="Cancel a job", status_code=204, response_class=Response, **responses.CANCEL)
async def cancel(job_id: JobPath, service: ServiceDep, caller: CallerDep) -> Response:
    """Stops a job and forgets it. A result that it has already made is kept; DELETE /upscale deletes that."""
    await service.directory.cancel(job_id, caller.owner)
    return Response(status_code=204)


async def state_events(
    job: JobView, seen: int, heartbeat_seconds: float, prefix: str, turn: Callable[[], Awaitable[None]]
) -> AsyncIterator[str]:
    """An event for every change since version `seen`, consecutive changes combined; comments as heartbeats.

    Awaits a `turn` before each: sending events to all listeners of a job at once would delay other clients.
    """
    yield "retry: 1000\n\n"
    while True:
        await turn()
        snapshot = job.snapshot
        if snapshot.version != seen:
            seen = snapshot.version
            document = job_document(snapshot, prefix).model_dump_json(exclude_unset=True)
            yield f"id: {seen}\nevent: state\ndata: {document}\n\n"
        if snapshot.finished:
            return
        if not await job.changed(seen, heartbeat_seconds):
            yield ": still here\n\n"
