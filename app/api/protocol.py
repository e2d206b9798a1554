"""HTTP/1.1 with bounds on what a client may send, hold back or leave unread."""

import asyncio
from dataclasses import dataclass
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.api.fallback import REFUSAL
from app.api.line import Line, Timer
from app.errors import HeadersTooLarge, LapsrnError, MalformedRequest, QueueFull

_MAX_REMAINDER_BYTES = 256 * 1024 * 1024
"""Of a body whose request has been answered: far more than any honest upload, and read within a second."""
_MAX_PIPELINED = 16
"""Requests on one connection that wait for the answer to the one before; each costs memory."""
_FIELD_BYTES = len(": \r\n")


@dataclass(frozen=True, slots=True)
class ProtocolLimits:
    """Times in seconds: for the headers of a request, the longest pause in a body, and the longest time for a body.

    `header_bytes` is for the request line's address and all header fields together.
    """

    header_seconds: float
    header_bytes: int
    header_fields: int
    body_idle_seconds: float
    body_seconds: float


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    Headers are counted before the parser collects them. A request that breaks a limit, or is no HTTP, goes to the
    application like any other, with the reason in its scope: so its answer has an id, a log line and the usual headers.

    A request may be answered before its body has arrived, as most refusals are. To close then would reset the
    connection, and the reset destroys the answer before the client, or the proxy in front, has read it. So the rest of
    the body is read and dropped, within the limits of a body. If the connection is to be closed, its writing side ends
    at once and the client closes the other one.
    """

    def __init__(self, *arguments: Any, limits: ProtocolLimits, **named: Any) -> None:
        """`arguments` and `named` are uvicorn's."""
        super().__init__(*arguments, **named)
        self._limits = limits
        self._line: Line
        self._arriving: RequestResponseCycle | None = None  # the request whose body has not arrived completely
        self._deaf = False  # whatever still comes is not for the parser
        self._in_headers = False
        self._fields = 0  # of this request, trailers included
        self._header_bytes = 0  # of the fields that are complete
        self._unparsed = 0  # bytes since the parser last handed something over: an unfinished field, most likely
        self._remainder = 0
        self._header_timer = Timer(self.loop, self._end)
        self._idle_timer = Timer(self.loop, self._end)
        self._total_timer = Timer(self.loop, self._end)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Waits for the first request, as long as headers may take."""
        self._line = Line(transport, self._close)
        super().connection_made(self._line)
        self._header_timer.start(self._limits.header_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops every clock."""
        self._arriving = None
        for timer in (self._header_timer, self._idle_timer, self._total_timer):
            timer.stop()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parses what has come, or drops it if nobody wants it any more."""
        if self._total_timer.running:
            self._take_remainder(len(data))
        if self._deaf:
            return
        self._unparsed += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # to a protocol that is not spoken here: the request is answered as it is
        except httptools.HttpParserError as error:
            own = error.__context__
            self._refuse(own if isinstance(own, LapsrnError) else MalformedRequest("This is not an HTTP/1.1 request."))
        else:
            if self._unparsed > self._limits.header_bytes:
                self._refuse(self._too_many_bytes())

    def on_message_begin(self) -> None:
        """Gives a further request on the same connection as much time as the first."""
        self._unset_keepalive_if_required()
        super().on_message_begin()
        self._in_headers = True
        self._fields = self._header_bytes = self._unparsed = 0
        if not self._header_timer.running:
            self._header_timer.start(self._limits.header_seconds)

    def on_url(self, url: bytes) -> None:
        """Takes a piece of the address."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Takes a header, or a trailer after a chunked body."""
        self._fields += 1
        if self._fields > self._limits.header_fields:
            raise HeadersTooLarge(
                f"The request has more than {self._limits.header_fields} headers, which is the limit. Send fewer."
            )
        self._count(len(name) + len(value) + _FIELD_BYTES)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Starts the request."""
        self._header_timer.stop()
        if len(self.pipeline) >= _MAX_PIPELINED:
            raise QueueFull(
                f"More than {_MAX_PIPELINED} requests wait on this connection. Wait for their answers.", retry_after=1.0
            )
        self._start()

    def on_body(self, body: bytes) -> None:
        """Takes a piece of the body."""
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Waits for the next request if this one has been answered already."""
        self._arriving = None
        super().on_message_complete()
        if self._total_timer.running:
            self._idle_timer.stop()
            self._total_timer.stop()
            self._wait_for_the_next()

    def on_response_complete(self) -> None:
        """Reads on if the body is still arriving, or waits for the next request."""
        super().on_response_complete()
        if self._in_headers or self._arriving is not None:
            self._unset_keepalive_if_required()
        if self._answered_early and not self._line.is_closing():
            self._read_remainder()

    def shutdown(self) -> None:
        """Closes when what is under way has been answered."""
        if not self._line.is_closing():
            super().shutdown()

    @property
    def _answered_early(self) -> bool:
        return self._arriving is not None and self._arriving.response_complete

    def _close(self) -> None:
        """What uvicorn's `transport.close()` comes to."""
        if not self._answered_early or self._line.is_closing():
            self._end()
        else:
            self._deaf = True
            self._line.half_close()
            self.flow.resume_reading()
            self._read_remainder()

    def _end(self) -> None:
        self._line.end()

    def _start(self) -> RequestResponseCycle:
        super().on_headers_complete()
        self._in_headers = False
        self._arriving = self.cycle
        return self.cycle

    def _refuse(self, error: LapsrnError) -> None:
        """Lets the application answer the request that is arriving with `error`; the connection ends after that."""
        self._deaf = True
        self._header_timer.stop()
        if self._answered_early:
            self._end()
            return
        cycle = self._arriving or self._start_unparsed()
        scope = cast(dict[str, Any], cycle.scope)
        scope[REFUSAL] = error
        cycle.keep_alive = False
        cycle.message_event.set()

    def _start_unparsed(self) -> RequestResponseCycle:
        """Starts a request whose headers have not all been read; the address, and perhaps the method, is not known."""
        if not self._in_headers:
            self.on_message_begin()
        known, self.url = bool(self.url), b"/"
        cycle = self._start()
        cycle.scope["path"], cycle.scope["raw_path"] = "", b""
        if not known:
            cycle.scope["method"] = ""
        return cycle

    def _count(self, count: int) -> None:
        self._header_bytes += count
        if self._header_bytes > self._limits.header_bytes:
            raise self._too_many_bytes()

    def _too_many_bytes(self) -> HeadersTooLarge:
        return HeadersTooLarge(
            f"The request's address and headers have more than {self._limits.header_bytes} bytes, which is the limit. "
            "Send fewer or shorter ones."
        )

    def _wait_for_the_next(self) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _read_remainder(self) -> None:
        self._remainder = 0
        self._idle_timer.start(self._limits.body_idle_seconds)
        if not self._total_timer.running:
            self._total_timer.start(self._limits.body_seconds)

    def _take_remainder(self, count: int) -> None:
        self._remainder += count
        self._idle_timer.start(self._limits.body_idle_seconds)
        if self._remainder > _MAX_REMAINDER_BYTES:
            self._end()
