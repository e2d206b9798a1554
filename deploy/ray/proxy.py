"""What Serve's proxy answers where a replica dies with a request: 502 as a problem document, not its own 500.

RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=deploy.ray.proxy:middlewares, in the environment of every node.
"""

import json
import logging

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_BODY = json.dumps(
    {
        "type": "urn:lapsrn:problem:replica-lost",
        "title": "The replica was lost",
        "status": 502,
        "detail": "The process that worked on this request has ended. Send it again.",
    }
).encode()


class HonestErrors:
    """Answers where the proxy itself fails. Once a response has begun, its connection is closed instead."""

    def __init__(self, app: ASGIApp) -> None:
        """`app` is the proxy."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception:
            if begun or scope["type"] != "http":
                raise
            logging.getLogger("ray.serve").exception("a replica was lost with a request")
        if not begun and scope["type"] == "http":  # without a response, uvicorn would answer 500
            length = str(len(_BODY)).encode()
            headers = [(b"content-type", b"application/problem+json"), (b"content-length", length)]
            await send({"type": "http.response.start", "status": 502, "headers": headers})
            await send({"type": "http.response.body", "body": _BODY})


def middlewares() -> list[Middleware]:
    """For the proxy."""
    return [Middleware(HonestErrors)]
