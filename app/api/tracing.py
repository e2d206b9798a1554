"""Request ids and W3C trace context: the client's if they are well formed, otherwise new ones."""

import re
import secrets
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from opentelemetry import trace as spans

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class Trace:
    """`request_id` is for people; `traceparent` is that of this hop, within the client's trace if it sent one."""

    request_id: str
    trace_id: str
    traceparent: str


def trace_of(request_id: str, traceparent: str) -> Trace:
    """The trace for a request with these header values, either of which may be empty or malformed."""
    known = _TRACEPARENT.fullmatch(traceparent)
    valid = known is not None and int(known[1], 16) > 0 and int(known[2], 16) > 0
    trace_id, flags = (known[1], known[3]) if known is not None and valid else (secrets.token_hex(16), "00")
    name = request_id if _REQUEST_ID.fullmatch(request_id) else secrets.token_hex(8)
    return Trace(name, trace_id, f"00-{trace_id}-{secrets.token_hex(8)}-{flags}")


def untraced(root_path: str, scope: MutableMapping[str, Any]) -> bool:
    """Whether a request gets no OpenTelemetry span: only upscales get one, as other URLs contain ids of results."""
    return scope.get("method") != "POST" or scope["path"] not in ("/upscale", f"{root_path}/upscale")


def record_in_span(milliseconds: Mapping[str, float]) -> None:
    """Adds the time of each stage to the request's OpenTelemetry span, if there is one."""
    span = spans.get_current_span()
    if span.is_recording():
        span.set_attributes({f"lapsrn.stage.{stage}.ms": value for stage, value in milliseconds.items()})
