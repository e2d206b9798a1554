"""The middleware that gives every request an id, a log line and metrics, and every response its security headers."""

import time
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.addresses import below, path_of, without_last_slash
from app.api.connections import PROBES
from app.api.cookies import only_ours
from app.api.tracing import Trace, trace_of
from app.metrics import Metrics

CLIENT_CLOSED_REQUEST = 499
_PIECE = 256 * 1024
_UNROUTED = ("/openapi.json",)
_PAGES = ("/static/", "/docs")
_API_POLICY = "default-src 'none'; frame-ancestors 'none'"
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class RequestEnvelope:
    """Every request that Entrance has let in passes through; the log's `seconds` do not include the wait there."""

    def __init__(self, app: ASGIApp, metrics: Metrics, root_path: str = "") -> None:
        """`metrics` counts requests; `root_path` is the prefix of every path."""
        self._app = app
        self._root_path = root_path
        self._metrics = metrics
        self._log = structlog.get_logger("lapsrn.request")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, and records the response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        below(self._root_path, scope)
        without_last_slash(scope)
        scope["headers"] = only_ours(scope["headers"])
        headers = Headers(scope=scope)
        trace = trace_of(headers.get("x-request-id", ""), headers.get("traceparent", ""))
        facts: dict[str, Any] = {}
        scope["lapsrn.trace"] = trace
        scope["lapsrn.facts"] = facts
        began = time.perf_counter()
        response = _Response(send, trace, path_of(scope))
        try:
            await self._app(scope, receive, response.send)
        finally:
            self._record(scope, trace, response, time.perf_counter() - began, facts)

    def _record(
        self, scope: Scope, trace: Trace, response: "_Response", seconds: float, facts: MutableMapping[str, Any]
    ) -> None:
        """Writes one log line and updates the metrics. Neither contains keys, ids of results, or picture content."""
        route = route_of(scope)
        status = response.status or CLIENT_CLOSED_REQUEST
        self._metrics.request(route, scope["method"], status, seconds)
        if route == "/upscale" and scope["method"] == "POST":
            pixels = facts.get("height", 0) * facts.get("width", 0)
            self._metrics.upscaled(facts.get("model", ""), pixels, status, seconds)
        log = self._log.debug if route in PROBES and status < 400 else self._log.info
        log(
            "request",
            request_id=trace.request_id,
            trace_id=trace.trace_id,
            method=scope["method"],
            route=route,
            status=status,
            seconds=round(seconds, 4),
            bytes_out=response.bytes_out,
            **facts,
        )


class _Response:
    """Counts what is sent, and adds the headers that every response has."""

    def __init__(self, send: Send, trace: Trace, path: str) -> None:
        self._send = send
        self._trace = trace
        self._policy = _PAGE_POLICY if path.startswith(_PAGES) or path == "/" else _API_POLICY
        self.status = 0
        self.bytes_out = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self._trace.request_id
            headers["traceparent"] = self._trace.traceparent
            if "location" in headers:  # starlette's redirects contain the client's Host, which is not to be trusted
                place = urlsplit(headers["location"])
                headers["Location"] = urlunsplit(("", "", place.path, place.query, ""))
            headers.setdefault("Content-Security-Policy", self._policy)
            for name, value in _SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        elif message["type"] == "http.response.body":
            await self._send_body(message.get("body", b""), message.get("more_body", False))
            return
        await self._send(message)

    async def _send_body(self, body: bytes, more: bool) -> None:
        """Sends a body in pieces, with backpressure: when this returns, all but about one piece has been sent."""
        self.bytes_out += len(body)
        view, last = memoryview(body), max(0, len(body) - 1) // _PIECE * _PIECE
        for start in range(0, last, _PIECE):
            piece = bytes(view[start : start + _PIECE])
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        await self._send({"type": "http.response.body", "body": bytes(view[last:]), "more_body": more})


def route_of(scope: Scope) -> str:
    """The route's template, from a bounded set: never the requested path itself."""
    path = getattr(scope.get("route"), "path", "")
    if isinstance(path, str) and path:
        return path
    asked = path_of(scope)
    return "/static" if asked.startswith("/static/") else asked if asked in _UNROUTED else "unmatched"
