"""Middleware of Serve's proxy: honest errors if a replica dies, limits on headers, one request id.

RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=deploy.ray.proxy:middlewares, in the environment of every node.
"""

import logging

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.bounds import HeaderCount, ProtocolLimits
from app.api.problems import Kind, Problem, problem_of
from app.api.tracing import trace_of
from app.errors import HeadersTooLarge
from app.settings import load_settings

_ID = b"x-request-id"
_LOST = Kind(502, "replica-lost", "The replica was lost")
_FOR_OPERATORS = (b"x-request-timeout-seconds", b"x-request-disconnect-disabled")
"""Headers by which a client could tell the proxy how long to wait, and to go on when it has left."""


class HonestErrors:
    """502 as a problem document where the proxy itself fails, not its own 500; and the request id once.

    Once a response has begun, its connection is closed instead.
    """

    def __init__(self, app: ASGIApp) -> None:
        """`app` is the proxy."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            if message["type"] == "http.response.start":
                message = {**message, "headers": _with_one_id(message.get("headers", ()))}
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception:
            if begun or scope["type"] != "http":
                raise
            logging.getLogger("ray.serve").exception("a replica was lost with a request")
        if not begun and scope["type"] == "http":  # without a response, uvicorn would answer 500
            detail = "The process that worked on this request has ended. Send it again."
            await _answer(Problem(_LOST, detail, {}), scope, receive, send)


class Bounds:
    """Answers 431 where the service would, which cannot limit what the proxy has let in.

    Headers that are for operators of Serve are taken out.
    """

    def __init__(self, app: ASGIApp, limits: ProtocolLimits) -> None:
        """`app` is the proxy."""
        self._app, self._limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or answers it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        count = HeaderCount(self._limits)
        try:
            count.address(scope.get("raw_path", b"") + scope.get("query_string", b""))
            for name, value in scope["headers"]:
                count.field(name, value)
        except HeadersTooLarge as error:
            await _answer(problem_of(error), scope, receive, send)
            return
        kept = [(name, value) for name, value in scope["headers"] if name.lower() not in _FOR_OPERATORS]
        await self._app({**scope, "headers": kept}, receive, send)


def middlewares() -> list[Middleware]:
    """For the proxy; the last one is the outermost."""
    return [Middleware(HonestErrors), Middleware(Bounds, limits=ProtocolLimits.of(load_settings()))]


def _with_one_id(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers with one request id: the proxy adds its own to that of the service, which took it over."""
    ids = [each for each in headers if each[0].lower() == _ID]
    return [each for each in headers if each[0].lower() != _ID] + ids[:1]


async def _answer(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Sends a problem document as the service does: with the client's request id, or else one made here."""
    request_id = trace_of(Headers(scope=scope).get("x-request-id", ""), "").request_id
    response = problem.response(request_id)
    response.headers["X-Request-Id"] = request_id
    await response(scope, receive, send)
