"""HTTP/1.1 with bounds on what a client may send, hold back or leave unread."""

import asyncio
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.api.line import Line, Timer

_MAX_REMAINDER_BYTES = 256 * 1024 * 1024
"""Of a body whose request has been answered: far more than any honest upload, and read within a second."""


@dataclass(frozen=True, slots=True)
class ProtocolLimits:
    """`header_seconds` for the headers of a request; the longest pause and the longest time for a body, in seconds."""

    header_seconds: float
    body_idle_seconds: float
    body_seconds: float


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

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
        self._lingering = False
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
        if not self._lingering:
            super().data_received(data)

    def on_message_begin(self) -> None:
        """Gives a further request on the same connection as much time as the first."""
        super().on_message_begin()
        if not self._header_timer.running:
            self._header_timer.start(self._limits.header_seconds)

    def on_headers_complete(self) -> None:
        """Starts the request."""
        self._header_timer.stop()
        super().on_headers_complete()
        self._arriving = self.cycle

    def on_message_complete(self) -> None:
        """Waits for the next request if this one has been answered already."""
        self._arriving = None
        super().on_message_complete()
        if self._total_timer.running:
            self._idle_timer.stop()
            self._total_timer.stop()
            self._wait_for_the_next()

    def on_response_complete(self) -> None:
        """Reads on if the body is still arriving."""
        super().on_response_complete()
        if self._answered_early and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self._read_remainder()

    def shutdown(self) -> None:
        """Closes when what is under way has been answered."""
        if not self._lingering:
            super().shutdown()

    @property
    def _answered_early(self) -> bool:
        return self._arriving is not None and self._arriving.response_complete

    def _close(self) -> None:
        """What uvicorn's `transport.close()` comes to."""
        if not self._answered_early or self._line.is_closing():
            self._end()
        else:
            self._lingering = True
            self._line.half_close()
            self.flow.resume_reading()
            self._read_remainder()

    def _end(self) -> None:
        self._line.end()

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
