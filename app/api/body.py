"""Reads the picture from a request's body, within limits on its size and time."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from app.api.form import FormSink, too_large
from app.api.negotiation import beginning_of
from app.errors import MalformedRequest, SlowClient, UnsupportedCoding, UnsupportedFormat
from app.service.upload_budget import Reservation

_FORM_OVERHEAD = 16 * 1024
"""Bytes that a form may have in addition to the picture."""
_MAX_CONTENT_TYPE = 1024
"""Characters of the header that are parsed: 64 KiB of parameters would block the event loop for 0.1 s."""
_COMPRESSIONS = frozenset(("br", "compress", "deflate", "gzip", "x-compress", "x-gzip", "zstd"))
"""Content codings that are refused; other values of the header are ignored."""


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """The maximum size of a picture, in bytes; the longest pause and the longest time for a whole body, in seconds."""

    max_bytes: int
    idle_seconds: float
    total_seconds: float


class Sink(Protocol):
    """Receives the chunks of a body."""

    def feed(self, chunk: bytes) -> None:
        """Receives the next chunk. Raises MalformedRequest or TooManyBytes."""
        ...

    def finish(self) -> bytes:
        """The picture, once the body is complete. Raises MalformedRequest."""
        ...


class RawSink:
    """For a body that is the picture itself."""

    def __init__(self) -> None:
        """Starts empty."""
        self._data = bytearray()

    def feed(self, chunk: bytes) -> None:
        """See Sink."""
        self._data += chunk

    def finish(self) -> bytes:
        """See Sink."""
        if not self._data:
            raise MalformedRequest("The body is empty. Send the picture's bytes.")
        return bytes(self._data)


async def read_picture(request: Request, limits: BodyLimits, reservation: Reservation) -> bytes:
    """The picture's bytes, at most `limits.max_bytes`, counted on `reservation` as they arrive.

    Raises UnsupportedFormat for a content type that is neither a form nor a picture, UnsupportedCoding, TooManyBytes
    (as early as possible), SlowClient, MalformedRequest, QueueFull, TooManyRequests, and starlette's ClientDisconnect.
    """
    for coding in beginning_of(",".join(request.headers.getlist("content-encoding"))).split(","):
        if coding.strip().lower() in _COMPRESSIONS:
            raise UnsupportedCoding(
                f"Content-Encoding {coding.strip()}: send the body as it is, without compressing it. "
                "It hardly makes pictures smaller."
            )
    sink, ceiling = _sink_for(request.headers.get("content-type", ""), limits.max_bytes)
    length = request.headers.get("content-length", "")
    declared = int(length) if length.isdecimal() else 0
    if declared > ceiling:
        raise too_large(limits.max_bytes)
    await _receive(request, limits, declared, ceiling, reservation, sink)
    return sink.finish()


def _sink_for(content_type: str, max_bytes: int) -> tuple[Sink, int]:
    """The sink for this content type, and the maximum size of its body in bytes.

    A body without a content type is a picture, as formats are recognised by their bytes anyway (RFC 9110, section 8.3).
    """
    kind, options = parse_options_header(content_type[:_MAX_CONTENT_TYPE])
    if kind == b"multipart/form-data":
        boundary = options.get(b"boundary", b"")
        if not boundary:
            raise MalformedRequest(
                "multipart/form-data without a boundary. Let the client set the Content-Type itself."
            )
        return FormSink(boundary, max_bytes), max_bytes + _FORM_OVERHEAD
    if not content_type or kind.startswith(b"image/") or kind == b"application/octet-stream":
        return RawSink(), max_bytes
    raise UnsupportedFormat(
        f"Content-Type {content_type[:80]}: send multipart/form-data with the picture in the field "
        "'image' (curl -F image=@photo.png), or the picture's bytes as image/* or application/octet-stream."
    )


async def _receive(
    request: Request, limits: BodyLimits, declared: int, ceiling: int, reservation: Reservation, sink: Sink
) -> None:
    """Feeds the body's chunks to `sink`: at most `ceiling` bytes, within the time limits.

    `declared` is the Content-Length, 0 if there is none.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + limits.total_seconds

    def wake() -> None:
        if not timer.expired():
            timer.reschedule(loop.time())

    try:
        async with asyncio.timeout_at(min(loop.time() + limits.idle_seconds, end)) as timer:
            reservation.arriving(declared, wake)
            count = 0
            async for chunk in request.stream():
                timer.reschedule(min(loop.time() + limits.idle_seconds, end))
                count += len(chunk)
                if count > ceiling:
                    raise too_large(limits.max_bytes)
                reservation.grow(len(chunk))
                sink.feed(chunk)
            reservation.arrived()
    except TimeoutError:
        reservation.check()
        raise SlowClient(
            f"The body arrived too slowly: at most {limits.idle_seconds:g} s between two pieces and "
            f"{limits.total_seconds:g} s in all are allowed."
        ) from None
