"""The OpenAPI descriptions of routes beyond their types: bodies, headers, problems, examples."""

from collections.abc import Iterable
from typing import Any, Literal

from app import errors
from app.api.problems import INTERNAL, KINDS, MEDIA_TYPE, Kind
from app.formats import OUTPUT_FORMATS

_BINARY = {"type": "string", "format": "binary"}
_PICTURE = {row.media_type: {"schema": _BINARY} for row in OUTPUT_FORMATS.values()}
_TEXT = {"schema": {"type": "string"}}


def _header(description: str, example: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}, "example": example}


_ID = _header("GET and DELETE /upscale find the result by this id. Keep it secret.", "8L2sQm0a5v3y1Zk7eW4cXb9dTfRgUhJi")
_ETAG = _header("Strong entity tag of the picture.", '"6f1ed002ab5595859014ebf0951522d9"')
_CACHE = _header("Whether it may be cached.", "no-store")
_COOKIE = _header(
    "The id again: HttpOnly, SameSite=Strict, path /upscale.", "upscale_id=8L2s...; HttpOnly; Path=/upscale"
)
_CLEAN = _header(
    "The clean-up strength, and what `clean=auto` chose it for: compression with its quality, either that of the file "
    "or, as `grid`, that of an earlier JPEG; `noise` with its standard deviation in levels; or `area` or "
    "`aliased`, ways of shrinking.",
    "0.5; jpeg=90",
)
_RETRY = _header("Seconds to wait before the next attempt.", "5")
REQUEST_ID_HEADER = _header("Names this request; the client's own if it sent a well-formed one.", "3f9c2ab81d77e640")
TRACEPARENT_HEADER = _header(
    "W3C trace context of this hop, in the client's trace if it sent one.",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
)


def _problems(*kinds: type[errors.LapsrnError]) -> dict[int | str, dict[str, Any]]:
    """The responses for these errors, by status, with an example of each type."""
    by_status: dict[int, list[Kind]] = {}
    for error in kinds:
        by_status.setdefault(KINDS[error].status, []).append(KINDS[error])
    return {status: _problem(status, rows) for status, rows in sorted(by_status.items())}


def _problem(status: int, rows: Iterable[Kind]) -> dict[str, Any]:
    rows = list(rows)
    headers: dict[str, Any] = {}
    if status in (429, 503):
        headers["Retry-After"] = _RETRY
    if any(row.slug == errors.UnsupportedCoding.slug for row in rows):
        headers["Accept-Encoding"] = _header("Only where the body was compressed.", "identity")
    if status == 416:
        headers["Content-Range"] = _header("The size of the picture in bytes.", "bytes */2000")
    if any(row.slug == errors.NotReady.slug for row in rows):
        headers["Link"] = _header("The job to wait for.", '</jobs/8L2s...>; rel="monitor"')
    if status == 401:
        headers["WWW-Authenticate"] = _header("How to authenticate.", 'Bearer realm="lapsrn"')
    examples = {
        row.slug: {
            "value": {
                "type": errors.PROBLEM_TYPE + row.slug,
                "title": row.title,
                "status": row.status,
                "detail": "What was wrong, what is allowed, what to do.",
                "request_id": "3f9c2ab81d77e640",
            }
        }
        for row in rows
    }
    return {
        "description": "; or ".join(row.title for row in rows),
        "headers": headers,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}, "examples": examples}},
    }


EVERYWHERE: dict[str, Any] = {
    "421": _problem(421, [KINDS[errors.UnknownHost]]),
    "431": _problem(431, [KINDS[errors.HeadersTooLarge]]),
    "500": _problem(500, [INTERNAL]),
}
"""Responses that any operation may give."""


def _parameter(name: str, place: Literal["header", "cookie"], description: str) -> dict[str, Any]:
    return {"name": name, "in": place, "required": False, "description": description, "schema": {"type": "string"}}


_COOKIE_PARAMETER = _parameter("upscale_id", "cookie", "Set by POST /upscale; used when `id` is not given.")
_PREFER = _parameter("Prefer", "header", "`respond-async`: answer 202 with a job at once.") | {
    "example": "respond-async"
}
_IF_NONE_MATCH = _parameter(
    "If-None-Match", "header", "Entity tags that the client has; 304 when one of them is current."
)
_IF_MATCH = _parameter("If-Match", "header", "Entity tags, one of which has to be current; otherwise 412.")
_RANGE = _parameter(
    "Range", "header", "A part of the file, such as bytes=1000-, to resume a transfer; answered by 206."
)
_IF_RANGE = _parameter(
    "If-Range", "header", "The ETag of the file that Range is for; of any other file, the whole is sent."
)

UPSCALE: dict[str, Any] = {
    "responses": {
        200: {
            "description": "The picture.",
            "content": _PICTURE,
            "headers": {
                "X-Upscale-Id": _ID,
                "Content-Location": _header("Where GET finds exactly this picture.", "/upscale?level=4&id=8L2s..."),
                "Link": _header("The other levels.", '</upscale?level=2&id=8L2s...>; rel="alternate"; title="x2"'),
                "Server-Timing": _header(
                    "Milliseconds in each stage.",
                    "read;dur=0.4, decode;dur=3.1, queue;dur=0.2, infer;dur=190.5, merge;dur=9.0, encode;dur=21.7, "
                    "total;dur=225.2",
                ),
                "X-Upscale-Clean": _CLEAN,
                "X-Upscale-Model": _header("The network that made it.", "lapsrn_x4"),
                "Content-Disposition": _header("A name to save it under.", 'inline; filename="upscaled_x4.png"'),
                "ETag": _ETAG,
                "Cache-Control": _CACHE,
                "Vary": _header("Accept chooses the format.", "Accept"),
                "Set-Cookie": _COOKIE,
                "X-Upscale-Metadata": _header("The metadata that was left out, and why.", "exif dropped (unreadable)"),
                "X-Upscale-Truncated": _header("The file was incomplete; what was there was upscaled.", "true"),
            },
        },
        202: {
            "description": "A job was begun (`Prefer: respond-async`).",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/JobDocument"}}},
            "headers": {
                "Location": _header("The job.", "/jobs/8L2s..."),
                "Preference-Applied": _header("The preference that was honoured.", "respond-async"),
                "X-Upscale-Id": _ID,
                "Set-Cookie": _COOKIE,
            },
        },
        **_problems(
            errors.MalformedRequest,
            errors.Unauthorized,
            errors.CrossSite,
            errors.NotAcceptable,
            errors.SlowClient,
            errors.TooManyBytes,
            errors.TooManyPixels,
            errors.UnsupportedCoding,
            errors.UnsupportedFormat,
            errors.UndecodablePicture,
            errors.BadParameter,
            errors.TooManyRequests,
            errors.InferenceFailed,
            errors.QueueFull,
            errors.Draining,
            errors.WarmingUp,
            errors.DecodersUnavailable,
            errors.DeadlineExceeded,
        ),
    },
    "openapi_extra": {
        "parameters": [_PREFER],
        "requestBody": {
            "required": True,
            # One kind of body: generated clients cannot handle several.
            "description": "One picture, in the form field `image`; `file` works, too. So do its bytes as the body "
            "itself, as `image/*` or `application/octet-stream`.",
            "content": {
                "multipart/form-data": {
                    "schema": {"type": "object", "properties": {"image": _BINARY}, "required": ["image"]},
                    "encoding": {"image": {"contentType": "image/png, image/jpeg, image/webp, image/tiff, image/bmp"}},
                },
            },
        },
    },
}

RESULT: dict[str, Any] = {
    "responses": {
        200: {
            "description": "The picture at this level, in the format of the POST.",
            "content": _PICTURE,
            "headers": {
                "ETag": _ETAG,
                "Cache-Control": _CACHE,
                "X-Upscale-Clean": _CLEAN,
                "Content-Disposition": _header("A name to save it under.", 'inline; filename="upscaled_x2.png"'),
            },
        },
        206: {
            "description": "The part of it that Range asks for.",
            "content": _PICTURE,
            "headers": {
                "ETag": _ETAG,
                "Content-Range": _header("Which bytes of the picture these are, and its size.", "bytes 1000-1999/2000"),
            },
        },
        304: {"description": "The client has it already.", "headers": {"ETag": _ETAG}},
        **_problems(
            errors.MalformedRequest,
            errors.Unauthorized,
            errors.NotFound,
            errors.NotReady,
            errors.PreconditionFailed,
            errors.RangeNotSatisfiable,
            errors.BadParameter,
            errors.TooManyRequests,
            errors.QueueFull,
            errors.StoreUnavailable,
        ),
    },
    "openapi_extra": {"parameters": [_IF_MATCH, _IF_NONE_MATCH, _RANGE, _IF_RANGE, _COOKIE_PARAMETER]},
}

FORGET: dict[str, Any] = {
    "responses": {
        204: {"description": "Forgotten."},
        **_problems(
            errors.MalformedRequest,
            errors.Unauthorized,
            errors.NotFound,
            errors.BadParameter,
            errors.StoreUnavailable,
        ),
    },
    "openapi_extra": {"parameters": [_COOKIE_PARAMETER]},
}

_JOB_PROBLEMS = _problems(errors.Unauthorized, errors.NotFound, errors.BadParameter, errors.StoreUnavailable)
_FETCH_PROBLEMS = {**_JOB_PROBLEMS, **_problems(errors.TooManyRequests)}
JOB: dict[str, Any] = {"responses": {200: {}, **_FETCH_PROBLEMS}}
EVENTS: dict[str, Any] = {
    "responses": {
        200: {
            "description": "Events named `state`, each with a JobDocument; comments as heartbeat.",
            "content": {
                "text/event-stream": {
                    **_TEXT,
                    "example": 'id: 3\nevent: state\ndata: {"id":"8L2s...","state":"running",'
                    '"progress":{"done":5,"total":12},"seconds_left":1.4,"results":{},"clean":null,"error":null}\n\n',
                }
            },
        },
        204: {"description": "The job has ended, and `Last-Event-ID` is its last event."},
        **_FETCH_PROBLEMS,
    }
}
CANCEL: dict[str, Any] = {"responses": {204: {"description": "Cancelled and forgotten."}, **_JOB_PROBLEMS}}

HEALTH: dict[str, Any] = {
    "responses": {
        503: {
            "description": "The scheduler or every worker is dead.",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Health"}}},
        }
    }
}
READY: dict[str, Any] = {
    "responses": {
        503: {
            "description": "Warming up, leaving, draining, or without workers or decoders.",
            "headers": {"Retry-After": _RETRY},
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Readiness"}}},
        }
    }
}
METRICS: dict[str, Any] = {
    "responses": {
        200: {
            "description": "Metrics.",
            "content": {"text/plain": _TEXT, "application/openmetrics-text": _TEXT},
        }
    }
}
MODEL: dict[str, Any] = {"responses": _problems(errors.Draining, errors.WarmingUp)}
RELOAD: dict[str, Any] = {
    "responses": _problems(
        errors.Unauthorized,
        errors.Forbidden,
        errors.StartupError,
        errors.SettingsRefused,
        errors.Draining,
        errors.WarmingUp,
    )
}
