"""Errors as RFC 9457 problem documents, with the status code of each domain error."""

import http
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from app import errors
from app.api.addresses import job_address
from app.api.complaints import complaint
from app.api.schemas import ProblemDocument

MEDIA_TYPE = "application/problem+json"
_RETRY_SECONDS = 5.0
_MAX_COMPLAINTS = 10


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table: the status, the stable last part of the type, and a title that never changes."""

    status: int
    slug: str
    title: str


_ERRORS: Mapping[type[errors.LapsrnError], tuple[int, str]] = {
    errors.MalformedRequest: (400, "Malformed request"),
    errors.Unauthorized: (401, "API key missing or wrong"),
    errors.Forbidden: (403, "Not allowed with this API key"),
    errors.CrossSite: (403, "Not allowed for pages of other sites"),
    errors.NotFound: (404, "Not found"),
    errors.NotAcceptable: (406, "No acceptable picture format"),
    errors.SlowClient: (408, "The body did not arrive in time"),
    errors.NotReady: (409, "Not ready yet"),
    errors.StartupError: (409, "The weights did not pass their checks"),
    errors.SettingsRefused: (409, "The settings did not pass their checks"),
    errors.PreconditionFailed: (412, "Another picture than that of If-Match"),
    errors.TooManyBytes: (413, "Too many bytes"),
    errors.TooManyPixels: (413, "Too many pixels"),
    errors.UnsupportedFormat: (415, "Not an accepted picture format"),
    errors.UnsupportedCoding: (415, "The body is compressed"),
    errors.RangeNotSatisfiable: (416, "No such part"),
    errors.UnknownHost: (421, "Not a name of this service"),
    errors.UndecodablePicture: (422, "The picture does not decode"),
    errors.BadParameter: (422, "Bad parameter"),
    errors.TooManyRequests: (429, "Too much under way"),
    errors.HeadersTooLarge: (431, "Headers too large"),
    errors.InferenceFailed: (500, "The network failed on this picture"),
    errors.QueueFull: (503, "Busy"),
    errors.Draining: (503, "Shutting down"),
    errors.WarmingUp: (503, "Starting"),
    errors.DecodersUnavailable: (503, "Decoding unavailable"),
    errors.StoreUnavailable: (503, "Results store unavailable"),
    errors.JobLost: (503, "The job was lost"),
    errors.DeadlineExceeded: (504, "Deadline exceeded"),
}
KINDS = {error: Kind(status, error.slug, title) for error, (status, title) in _ERRORS.items()}
INTERNAL = Kind(500, errors.INTERNAL_ERROR, "Internal error")
INTERNAL_DETAIL = "The service failed unexpectedly. If it happens again, report it with the request id."


@dataclass(frozen=True, slots=True)
class Problem:
    """An error, ready to be sent."""

    kind: Kind
    detail: str
    headers: Mapping[str, str]
    parameters: Sequence[Mapping[str, str]] = ()
    job: str = ""

    def document(self, request_id: str) -> ProblemDocument:
        """The JSON document; `parameters` and `job` are only set where there are any."""
        document = ProblemDocument(
            type=errors.PROBLEM_TYPE + self.kind.slug,
            title=self.kind.title,
            status=self.kind.status,
            detail=self.detail,
            request_id=request_id,
        )
        if self.parameters:
            document.parameters = [dict(parameter) for parameter in self.parameters]
        if self.job:
            document.job = self.job
        return document

    def response(self, request_id: str) -> Response:
        """As application/problem+json, never to be cached."""
        headers = {"Cache-Control": "no-store", **self.headers}
        body = self.document(request_id).model_dump_json(exclude_unset=True)
        return Response(body, self.kind.status, headers, MEDIA_TYPE)


def kind_of(error: errors.LapsrnError) -> Kind:
    """The row for the class of `error`, or for its nearest base class with a row."""
    return next((KINDS[base] for base in type(error).__mro__ if base in KINDS), INTERNAL)


def problem_of(error: Exception, prefix: str = "") -> Problem:
    """The problem for `error`; errors that are not LapsrnErrors get a fixed text.

    `prefix` precedes the paths of addresses.
    """
    if not isinstance(error, errors.LapsrnError) or kind_of(error) is INTERNAL:
        return Problem(INTERNAL, INTERNAL_DETAIL, {})
    kind = kind_of(error)
    headers: dict[str, str] = {}
    if kind.status in (429, 503):
        seconds = getattr(error, "retry_after", _RETRY_SECONDS)
        headers["Retry-After"] = str(max(1, math.ceil(seconds)))
    if kind.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="lapsrn"'
    if isinstance(error, errors.UnsupportedCoding):
        headers["Accept-Encoding"] = "identity"
    if isinstance(error, errors.RangeNotSatisfiable):
        headers["Content-Range"] = f"bytes */{error.size}"
    if isinstance(error, errors.NotReady):
        job = job_address(prefix, error.job_id)
        return Problem(kind, str(error), headers | {"Link": f'<{job}>; rel="monitor"'}, job=job)
    return Problem(kind, str(error), headers)


def problem_of_slug(slug: str, detail: str) -> Problem:
    """The problem for an error of which only the slug and the text are known."""
    kind = next((kind for kind in KINDS.values() if kind.slug == slug), INTERNAL)
    return Problem(kind, INTERNAL_DETAIL if kind is INTERNAL else detail, {})


def problem_of_parameters(errors_found: Sequence[Mapping[str, Any]], known: Sequence[str] = ()) -> Problem:
    """The problem for invalid parameters, from pydantic's errors; for an unknown parameter it lists `known`.

    Only the first errors are reported, so that a short request cannot cause a long response.
    """
    parameters = [complaint(error, known) for error in errors_found[:_MAX_COMPLAINTS]]
    detail = "; ".join(f"{item['name']}: {item['message']}" for item in parameters)
    if more := len(errors_found) - len(parameters):
        detail += f"; and {more} more"
    return Problem(KINDS[errors.BadParameter], detail, {}, parameters)


def problem_of_status(status: int, prefix: str, path: str, headers: Mapping[str, str]) -> Problem:
    """The problem for requests that the framework itself refuses: unknown path, wrong method."""
    see = f"See {prefix}/docs."
    if status == 404:
        return Problem(KINDS[errors.NotFound], f"There is nothing at {prefix}{path[:200]}. {see}", headers)
    if status == 405:
        allowed = headers.get("Allow", "")
        return Problem(
            Kind(405, "method-not-allowed", "Method not allowed"), f"Allowed here: {allowed}. {see}", headers
        )
    phrase = http.HTTPStatus(status).phrase
    return Problem(Kind(status, phrase.lower().replace(" ", "-"), phrase), f"{phrase}. {see}", headers)
