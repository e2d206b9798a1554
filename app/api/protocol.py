"""HTTP/1.1 with bounds on what a client may send, hold back or leave unread."""

import asyncio
from typing import Any, Literal, cast

import httptools
import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.api.access import network_of
from app.api.bounds import HeaderCount, Outstanding, ProtocolLimits, Remainder, Timer
from app.api.connections import PROBES, Connections
from app.api.fallback import REFUSAL
from app.api.line import Line
from app.api.turnstile import Turnstile
from app.errors import LapsrnError, MalformedRequest, QueueFull
from app.service.answer_budget import Reader

_MAX_PIPELINED = 16
"""Requests on one connection that wait for the answer to the one before; each costs memory."""
_FRAMING = (b"connection", b"content-length", b"transfer-encoding")
"""The headers that tell where a body ends, and whether another request may follow."""
_PROBE_SECONDS = 2.0
"""For the headers on a connection that is kept back for probes, so that it is soon free for the next one."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    Headers are counted before the parser collects them. A request that breaks a limit, or is no HTTP, goes to the
    application like any other, with the reason in its scope: so its answer has an id, a log line and the usual headers.

    A request may be answered before its body has arrived, as most refusals are. To close then would reset the
    connection, and the reset destroys the answer before the client, or the proxy in front, has read it. So the rest of
    the body is read and dropped, within the limits of a body. If the connection is to be closed, its writing side ends
    at once and the client closes the other one.

    An early answer says that the connection ends, unless little of the body is to come. Clients that see it can then
    stop sending. And one that asked with Expect may never send the body: its next request would be taken for that.

    Bodies are read piece by piece, one in each pass of the event loop, clients in turn: else each pass would take a
    piece of every body of a flood.
    """

    def __init__(
        self, *arguments: Any, limits: ProtocolLimits, connections: Connections, turnstile: Turnstile, **named: Any
    ) -> None:
        """`arguments` and `named` are uvicorn's; the connections of a port share a `turnstile`."""
        super().__init__(*arguments, **named)
        self._limits, self._connections, self._turnstile = limits, connections, turnstile
        self._address = ""
        self._line: Line
        self._reader: Reader
        self._headers = HeaderCount(limits)
        self._header_timer = Timer(self.loop, self._end)
        self._remainder = Remainder(self.loop, limits, connections, give_up=self._end)
        self._probes_only = False
        self._in_headers = False
        self._running: RequestResponseCycle | None = None  # the request being answered; those behind it wait
        self._arriving: RequestResponseCycle | None = None  # the request whose body has not arrived completely
        self._outstanding = Outstanding((), asks=False)
        self._lasts = True  # whether the connection is to stay open once that request is answered and its body is here
        self._deaf = False  # whatever still comes is not for the parser
        self._pieces: list[bytes] = []  # of a body, as the parser has found them in what came last
        self._framing = b""  # of the body that the parser left out because of an upgrade
        self._reframing = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Waits for the first request, as long as headers may take."""
        limits = self._limits
        self._line = Line(
            transport, self.loop, limits.write_idle_seconds, on_close=self._close, on_unread=self._drop_unread
        )
        self._reader = Reader(self._line.taken_so_far, self._drop_slow)
        super().connection_made(self._line)
        self._address = self.client[0] if self.client else ""
        admission = self._connections.enter(self._address)
        if admission == "refused":
            self._deaf = True
            self._line.abort()
            return
        self._probes_only = admission == "probes"
        self._header_timer.start(
            min(limits.header_seconds, _PROBE_SECONDS) if self._probes_only else limits.header_seconds
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops every clock."""
        self._arriving = None
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True  # uvicorn says so to the last one alone
            self._running.message_event.set()
        self.pipeline.clear()
        self._connections.leave(self._address)
        self._line.lost()
        self._header_timer.stop()
        self._remainder.stop()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parses what has come, or drops it if nobody wants it any more."""
        if self._remainder.running:
            self._remainder.took()
        if (self._deaf or self._arriving is not None) and not self._turnstile.take():
            self._line.hold()
            self._turnstile.wait(self._sender(), self._line.let_go)
        if self._deaf:
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
        """Also past requests that ask for an upgrade, which is not spoken here: they are answered as they are.

        The parser stops behind their headers. What follows is their body all the same (RFC 9110, section 7.8), and
        would be taken for the next request: so a parser gets a second head, which says nothing but how it is framed.
        """
        while data:
            try:
                self.parser.feed_data(data)
                self._take_body()
                return
            except httptools.HttpParserUpgrade as stop:
                data = data[stop.args[0] :]
            if self._framing:
                head, self._framing = b"POST / HTTP/1.1\r\n" + self._framing + b"\r\n", b""
                self._reframing = True
                self.parser = httptools.HttpRequestParser(self)  # the other takes nothing after Connection: close
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
                self.parser.feed_data(head)

    def on_message_begin(self) -> None:
        """Gives a further request on the same connection as much time as the first."""
        if self._reframing:
            return
        self._unset_keepalive_if_required()
        super().on_message_begin()
        self._in_headers = True
        self._headers.begin()
        if not self._header_timer.running:
            self._header_timer.start(self._limits.header_seconds)

    def on_url(self, url: bytes) -> None:
        """Takes a piece of the address."""
        if self._reframing:
            return
        self._headers.address(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Takes a header. A trailer after a chunked body is counted and dropped.

        As a header it would say what proxies, which pass trailers on, never saw: another address, say, or key.
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
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() == "1.1"):
            raise MalformedRequest("A request has to have one header Host (RFC 9112, section 3.2).")
        codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        if codings not in ([], [b"chunked"]):  # the parser takes a body whose last coding is chunked, and removes that
            raise MalformedRequest(
                "Transfer-Encoding: the body may be chunked, but not coded in another way. Send it as it is."
            )
        if len(self.pipeline) >= _MAX_PIPELINED:
            raise QueueFull(
                f"More than {_MAX_PIPELINED} requests wait on this connection. Wait for their answers.", retry_after=1.0
            )
        cycle = self._start()
        if self.parser.should_upgrade():
            self._framing = b"".join(b"%s: %s\r\n" % each for each in self.headers if each[0] in _FRAMING)
        if self._probes_only and cycle.scope["path"] not in PROBES:
            self._tell(cycle, QueueFull("Too many connections are open. Try again in a few seconds.", retry_after=2.0))
        self._lasts = cycle.keep_alive and not self._probes_only and not self._connections.leaving()
        self._outstanding = Outstanding(self.headers, asks=cycle.waiting_for_100_continue)
        self._weigh(cycle)

    def on_body(self, body: bytes) -> None:
        """Notes a piece of the body: of chunks of one byte each there are 40,000 in what comes at once."""
        self._pieces.append(body)

    def _take_body(self) -> None:
        """Takes what the parser has found of the body."""
        if not self._pieces:
            return
        body = b"".join(self._pieces)
        self._pieces.clear()
        self._headers.body()
        self._outstanding.took(len(body))
        self._weigh(self.cycle)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Waits for the next request if this one has been answered already."""
        if self._framing:
            return  # the body is still to come
        self._take_body()
        self._outstanding.complete()
        self._weigh(self.cycle)
        self._arriving = None
        super().on_message_complete()
        if self._remainder.running:
            self._remainder.stop()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        """Reads on if the body is still arriving, or waits for the next request."""
        super().on_response_complete()
        if self._in_headers or self._arriving is not None:
            self._unset_keepalive_if_required()
        if self._answered_early and not self._line.is_closing():
            self._remainder.start(self._sender())

    def shutdown(self) -> None:
        """Closes when what is under way has been answered."""
        self._lasts = False
        if not self._line.is_closing():
            super().shutdown()

    @property
    def _answered_early(self) -> bool:
        return self._arriving is not None and self._arriving.response_complete

    def _sender(self) -> str:
        """The client whose body this is: a request that has begun says whom a proxy has sent, or whose key it has."""
        scope: Any = self.cycle.scope if self.cycle else {}
        address = scope["client"][0] if scope.get("client") else self._address
        return str(scope.get("lapsrn.facts", {}).get("client") or network_of(address))

    def _weigh(self, cycle: RequestResponseCycle) -> None:
        """Decides whether an answer that begins now leaves the connection open."""
        if not cycle.response_started:
            cycle.keep_alive = self._lasts and self._outstanding.little

    def _close(self) -> None:
        """What uvicorn's `transport.close()` comes to."""
        if not self._answered_early or self._line.is_closing():
            self._end()
        else:
            self._deaf = True
            self._line.half_close()
            self.flow.resume_reading()
            self._remainder.start(self._sender())

    def _end(self) -> None:
        self._line.end()

    def _drop_unread(self) -> None:
        self._drop("unread", "a client did not read its answer")

    def _drop_slow(self) -> None:
        self._drop("slow", "others needed the memory of an answer read slowly")

    def _drop(self, reason: Literal["unread", "slow"], event: str) -> None:
        """In the middle of an answer."""
        self._connections.dropped(reason)
        structlog.get_logger("lapsrn").info(event, client=self._address)
        self._line.abort()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _start(self) -> RequestResponseCycle:
        super().on_headers_complete()
        self._in_headers = False
        self._arriving = self.cycle
        cast(dict[str, Any], self.cycle.scope)["lapsrn.reader"] = self._reader
        if self.cycle.scope["http_version"] != "1.1":
            _speak_older(self.cycle)
        return self.cycle

    def _refuse(self, error: LapsrnError) -> None:
        """Lets the application answer the request that is arriving with `error`; the connection ends after that."""
        self._deaf = True
        self._header_timer.stop()
        if self._answered_early:
            self._end()
            return
        self._tell(self._arriving or self._start_unparsed(), error)

    def _tell(self, cycle: RequestResponseCycle, error: LapsrnError) -> None:
        cast(dict[str, Any], cycle.scope)[REFUSAL] = error
        cycle.keep_alive = self._lasts = False
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


def _speak_older(cycle: RequestResponseCycle) -> None:
    """To a client of HTTP/1.0, which knows neither chunks nor 100 (Continue): RFC 9112, 6.1, and RFC 9110, 10.1.1.

    Of an answer whose length is not known, it takes what comes until the connection is closed.
    """
    cycle.waiting_for_100_continue = False
    send, framed = cycle.send, True

    async def unframed(message: Any) -> None:
        nonlocal framed
        if message["type"] == "http.response.start":
            framed = any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
            cycle.chunked_encoding = None if framed else False
        elif not framed:
            cycle.expected_content_length = len(message.get("body", b""))
        await send(message)

    cycle.send = unframed  # type: ignore[method-assign]
