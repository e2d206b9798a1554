"""Builds the JSON documents of responses: the models of `schemas`, filled from the service's objects."""

from collections.abc import Mapping

from pydantic import BaseModel
from starlette.responses import Response

from app.api.addresses import picture_address
from app.api.problems import problem_of_slug
from app.api.schemas import JobDocument, TileProgress
from app.service.job_snapshot import JobSnapshot

NO_STORE = {"Cache-Control": "no-store"}


def document_response(document: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The document as JSON that must not be cached. Unset members are left out."""
    body = document.model_dump_json(exclude_unset=True)
    return Response(body, status, {**NO_STORE, **(headers or {})}, "application/json")


def webhook_document(job: JobSnapshot, prefix: str) -> dict[str, object]:
    """The job's document as plain data, for its webhook, without the state of the webhook itself."""
    return job_document(job, prefix).model_dump(mode="json", exclude_unset=True, exclude={"webhook"})


def job_document(job: JobSnapshot, prefix: str) -> JobDocument:
    """The job's document, with the addresses of its results or the problem it ended with."""
    error = job.error
    webhook = {} if job.webhook is None else {"webhook": job.webhook}
    made = job.made
    return JobDocument(
        **webhook,
        id=job.id,
        state=job.state,
        progress=TileProgress(done=job.done_tiles, total=job.total_tiles),
        seconds_left=job.seconds_left,
        results={str(level): picture_address(prefix, job.id, level) for level in job.levels},
        model=made.model if made else None,
        clean=made.clean if made else None,
        metadata="; ".join(made.left_out) if made else None,
        truncated=made.truncated if made else None,
        error=None if error is None else problem_of_slug(error.slug, error.detail).document(job.request_id),
    )
