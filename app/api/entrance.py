"""The middleware that lets requests in one at a time, clients in turn, so that a flood waits behind its own.

Everything in Python that a request needs is done on the event loop, pass by pass. If all of a flood's requests began as
they come, each pass would do a piece of each of them, and a request of another client, which takes some twenty passes,
would wait for all of that twenty times. So in each pass no more than one begins.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.access import network_of
from app.api.turnstile import Turnstile


class Entrance:
    """Holds requests back while another one has begun in the same pass of the event loop."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._turnstile = Turnstile()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on when it is its client's turn."""
        if scope["type"] == "http":
            await self._turnstile.passed(network_of(scope["client"][0] if scope["client"] else ""))
        await self._app(scope, receive, send)
