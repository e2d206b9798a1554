"""HTTP/1.1 with limits on what a client may send, hold back or leave unread."""

import asyncio
from typing import Any, Literal, cast

import httptools
import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.api.access import network_of
from app.api.bounds import HeaderCount, Outstanding, ProtocolLimits, Remainder, Timer
from app.api.connections import PROBES, Connections
from app.api.fallback import REFUSAL
from app.api.http_rules import check_head, framing_head, respond_as_http_1_0
from app.api.transport import ClientTransport
from app.api.turnstile import Turnstile
from app.errors import LapsrnError, MalformedRequest, QueueFull
from app.service.response_budget import Reader

_MAX_PIPELINED = 16
"""Pipelined requests that may wait on one connection; each costs memory."""
_PROBE_SECONDS = 2.0
"""Timeout for headers on a connection reserved for probes, so that it is soon free for the next one."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    Headers are counted before the parser collects them. A request that exceeds a limit, or is not HTTP, is passed to
    the application like any other, with the reason in its scope, so that its response has an id, a log line and the
    usual headers.

    A request may be answered before its body has arrived, as most refusals are. Closing the connection then would reset
    it, and the reset discards the response before the client, or the proxy in front, has read it. So the rest of the
    body is read and dropped, within the limits of a body (lingering close). If the connection is to end, it is
    half-closed at once, and the client closes the other half.

    An early response announces the end of the connection, unless little of the body is outstanding: clients can then
    stop sending. A client that sent Expect may never send the body, so its next request would be mistaken for the body.

    Bodies are read in pieces, one piece per iteration of the event loop, clients in turn: otherwise each iteration
    would process a piece of every body of a flood.
    """

    def __init__(
        self, *arguments: Any, limits: ProtocolLimits, connections: Connections, turnstile: Turnstile, **named: Any
    ) -> None:
        """`arguments` and `named` are uvicorn's; the connections of a port share a `turnstile`."""
        super().__init__(*arguments, **named)
        self._limits, self._connections, self._turnstile = limits, connections, turnstile
        self._address = ""
        self._transport: ClientTransport
        self._reader: Reader
        self._headers = HeaderCount(limits)
        self._header_timer = Timer(self.loop, self._end)
        self._remainder = Remainder(self.loop, limits, connections, give_up=self._end)
        self._probes_only = False
        self._in_headers = False
        self._running: RequestResponseCycle | None = None  # the request being answered; pipelined ones wait
        self._arriving: RequestResponseCycle | None = None  # the request whose body has not arrived completely
        self._outstanding = Outstanding((), asks=False)
        self._keep_open = True  # after this request is answered and its body has arrived
        self._discarding = False  # input is dropped, not parsed
        self._pieces: list[bytes] = []  # pieces of the body that the parser found in the last data
        self._framing = b""  # head of a body that the parser skipped because of an upgrade; see framing_head
        self._reframing = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Waits for the first request, within the timeout for headers."""
        limits = self._limits
        self._transport = ClientTransport(
            transport, self.loop, limits.write_idle_seconds, on_close=self._close, on_unread=self._drop_unread
        )
        self._reader = Reader(self._transport.taken_so_far, self._drop_slow)
        super().connection_made(self._transport)
        self._address = self.client[0] if self.client else ""
        admission = self._connections.enter(self._address, self)
        if admission == "refused":
            self._transport.abort()
            return
        self._probes_only = admission == "probes"
        self._header_timer.start(
            min(limits.header_seconds, _PROBE_SECONDS) if self._probes_only else limits.header_seconds
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops all timers, and tells the request that is being answered."""
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True  # uvicorn tells only the last request of a pipeline
            self._running.message_event.set()
        self._connections.leave(self._address, self)
        self._transport.lost()
        self._header_timer.stop()
        self._remainder.stop()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parses the data, or drops it if it is not needed any more."""
        if self._remainder.running:
            self._remainder.took()
        if self._arriving is not None and not self._turnstile.take():
            self._transport.hold()
            self._turnstile.wait(self._sender(), self._transport.unhold)
        if self._discarding:
            return
        self._headers.fed(len(data))
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            own = error.__context__
            self._refuse(own if isinstance(own, LapsrnError) else MalformedRequest("This is not an HTTP/1.1 request."))
        else:
            if self._headers.overfed:
                self._refuse(self._headers.too_many_bytes())

    def _parse(self, data: bytes) -> None:
        """Feeds the parser, also past requests for an upgrade; upgrades are ignored.

        The parser stops after the headers of such a request. The data that follows is still its body (RFC 9110, section
        7.8), but would be parsed as the next request. So a new parser is first fed a second head that contains only the
        framing headers.
        """
        while data:
            try:
                self.parser.feed_data(data)
                self._take_body()
                return
            except httptools.HttpParserUpgrade as stop:
                data = data[stop.args[0] :]
            if self._framing:
                head, self._framing = self._framing, b""
                self._reframing = True
                self.parser = httptools.HttpRequestParser(self)  # the old one accepts nothing after Connection: close
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
                self.parser.feed_data(head)

    def on_message_begin(self) -> None:
        """Restarts the header timeout for a further request on the same connection."""
        if self._reframing:
            return
        self._unset_keepalive_if_required()
        super().on_message_begin()
        self._in_headers = True
        self._headers.begin()
        if not self._header_timer.running:
            self._header_timer.start(self._limits.header_seconds)

    def on_url(self, url: bytes) -> None:
        """Counts and keeps a piece of the URL."""
        if self._reframing:
            return
        self._headers.address(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Counts and keeps a header; a trailer after a chunked body is counted and dropped.

        Treated as a header, a trailer could smuggle past a proxy what it removes from headers, such as a forwarded
        address or a key.
        """
        if self._reframing:
            return
        self._headers.field(name, value)
        if self._in_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Starts the request."""
        if self._reframing:
            self._reframing = False
            return
        self._header_timer.stop()
        check_head(self.headers, self.parser.get_http_version())
        if len(self.pipeline) >= _MAX_PIPELINED:
            raise QueueFull(
                f"More than {_MAX_PIPELINED} requests wait on this connection. Wait for the responses.", retry_after=1.0
            )
        cycle = self._start()
        if self.parser.should_upgrade():
            self._framing = framing_head(self.headers)
        if self._probes_only and cycle.scope["path"] not in PROBES:
            self._reject(
                cycle, QueueFull("Too many connections are open. Try again in a few seconds.", retry_after=2.0)
            )
        self._keep_open = cycle.keep_alive and not self._probes_only and not self._connections.leaving()
        self._outstanding = Outstanding(self.headers, asks=cycle.waiting_for_100_continue)
        self._decide_keep_alive(cycle)

    def on_body(self, body: bytes) -> None:
        """Collects a piece of the body: one read may contain 40,000 chunks of one byte each."""
        self._pieces.append(body)

    def _take_body(self) -> None:
        """Passes on the pieces of the body that the parser has found."""
        if not self._pieces:
            return
        body = b"".join(self._pieces)
        self._pieces.clear()
        self._headers.body()
        self._outstanding.took(len(body))
        self._decide_keep_alive(self.cycle)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Waits for the next request if this one has been answered already."""
        if self._framing:
            return  # the body is still to come
        self._take_body()
        self._outstanding.complete()
        self._decide_keep_alive(self.cycle)
        self._arriving = None
        super().on_message_complete()
        if self._remainder.running:
            self._remainder.stop()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        """Keeps reading if the body is still arriving, otherwise waits for the next request."""
        super().on_response_complete()
        if self._in_headers or self._arriving is not None:
            self._unset_keepalive_if_required()
        if self._answered_early and not self._transport.is_closing():
            self._remainder.start(self._sender())

    def shutdown(self) -> None:
        """Closes the connection once requests under way are answered."""
        self._keep_open = False
        if not self._transport.is_closing():
            super().shutdown()

    @property
    def awaited(self) -> bool:
        """As app.api.connections.Connection."""
        running = self._running
        return self._arriving is None and running is not None and not running.response_started

    def displace(self) -> None:
        """As app.api.connections.Connection."""
        self._transport.abort()

    @property
    def _answered_early(self) -> bool:
        return self._arriving is not None and self._arriving.response_complete

    def _sender(self) -> str:
        """The client that sends the body: by its key or forwarded address, once a request has begun."""
        scope: Any = self.cycle.scope if self.cycle else {}
        address = scope["client"][0] if scope.get("client") else self._address
        return str(scope.get("lapsrn.facts", {}).get("client") or network_of(address))

    def _decide_keep_alive(self, cycle: RequestResponseCycle) -> None:
        """Sets whether a response that starts now leaves the connection open."""
        if not cycle.response_started:
            cycle.keep_alive = self._keep_open and self._outstanding.little

    def _close(self) -> None:
        """Handles uvicorn's `transport.close()`: closes, or lingers while a body is still arriving."""
        if not self._answered_early or self._transport.is_closing():
            self._end()
        else:
            self._discarding = True
            self._transport.half_close()
            self.flow.resume_reading()
            self._remainder.start(self._sender())

    def _end(self) -> None:
        self._transport.end()

    def _drop_unread(self) -> None:
        self._drop("unread", "a client did not read its response")

    def _drop_slow(self) -> None:
        self._drop("slow", "others needed the memory of a response read slowly")

    def _drop(self, reason: Literal["unread", "slow"], event: str) -> None:
        """Resets the connection in the middle of a response."""
        self._connections.dropped(reason)
        structlog.get_logger("lapsrn").info(event, client=self._address)
        self._transport.abort()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _start(self) -> RequestResponseCycle:
        super().on_headers_complete()
        self._in_headers = False
        self._arriving = self.cycle
        cast(dict[str, Any], self.cycle.scope)["lapsrn.reader"] = self._reader
        if self.cycle.scope["http_version"] != "1.1":
            respond_as_http_1_0(self.cycle)
        return self.cycle

    def _refuse(self, error: LapsrnError) -> None:
        """Has the application answer the arriving request with `error`; the connection ends after that."""
        self._discarding = True
        self._header_timer.stop()
        if self._answered_early:
            self._end()
            return
        self._reject(self._arriving or self._start_unparsed(), error)

    def _reject(self, cycle: RequestResponseCycle, error: LapsrnError) -> None:
        cast(dict[str, Any], cycle.scope)[REFUSAL] = error
        cycle.keep_alive = self._keep_open = False
        cycle.message_event.set()

    def _start_unparsed(self) -> RequestResponseCycle:
        """Starts a request with incomplete headers: its path, and perhaps its method, is unknown."""
        if not self._in_headers:
            self.on_message_begin()
        known, self.url = bool(self.url), b"/"
        cycle = self._start()
        cycle.scope["path"], cycle.scope["raw_path"] = "", b""
        if not known:
            cycle.scope["method"] = ""
        return cycle
