"""HEAD for every path that has GET."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_OF_GET = (b"range", b"if-range")
"""Headers without meaning for HEAD (RFC 9110, section 14.2)."""


class HeadAsGet:
    """Answers HEAD with the status and the headers that GET would have (RFC 9110, section 9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes HEAD on as GET. Streams end after the headers, as if the client had disconnected."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        headers = [(name, value) for name, value in scope["headers"] if name not in _OF_GET]
        as_get = {**scope, "method": "GET", "headers": headers}
        try:
            await self._app(as_get, receive, without_body)
        finally:
            if "route" in as_get:
                scope["route"] = as_get["route"]
