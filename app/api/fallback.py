"""The middleware that answers what routes do not: refusals by the protocol, unexpected errors, cancelled requests."""

import asyncio

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import problem_of
from app.errors import Draining, LapsrnError

REFUSAL = "lapsrn.refusal"
"""Key in the scope of the LapsrnError with which the protocol refuses the request."""
_CUT_OFF = "The service shut down before this was done. Send it again, to another instance or a little later."


class Fallback:
    """Belongs inside the middleware that adds headers to every response, so that these responses have them, too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._log = structlog.get_logger("lapsrn.request")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on unless it is refused, and answers if nothing else did."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        async def received() -> Message:
            """Also raises refusals that occur while the application reads the body."""
            message = await receive()
            if REFUSAL in scope:
                raise scope[REFUSAL]
            return message

        async def respond(error: Exception) -> None:
            if not started:
                problem = problem_of(error)
                scope["lapsrn.facts"]["problem"] = problem.kind.slug
                await problem.response(scope["lapsrn.trace"].request_id)(scope, receive, send)

        try:
            if REFUSAL in scope:
                raise scope[REFUSAL]
            await self._app(scope, received, noted)
        except LapsrnError as error:
            await respond(error)
        except Exception as error:
            self._log.error("unexpected error", request_id=scope["lapsrn.trace"].request_id, exc_info=error)
            await respond(error)
        except asyncio.CancelledError:  # by the server, at the end of the grace time; the task ends here anyway
            await respond(Draining(_CUT_OFF))
