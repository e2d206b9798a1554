"""The middleware that admits requests one at a time, clients in turn, so that a flood delays only its own client.

All Python code of a request runs on the event loop, in several iterations. If all requests of a flood started on
arrival, each iteration would run a step of each, and a request of another client, which takes about twenty iterations,
would wait for all of them twenty times. So at most one request starts in each iteration.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.access import network_of
from app.api.turnstile import Turnstile


class Entrance:
    """Starts at most one request per iteration of the event loop."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._turnstile = Turnstile()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on when it is its client's turn."""
        if scope["type"] == "http":
            await self._turnstile.passed(network_of(scope["client"][0] if scope["client"] else ""))
        await self._app(scope, receive, send)
