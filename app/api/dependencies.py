"""What routes ask for by type: the service, the caller, the trace."""

from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Annotated, Any, cast

from fastapi import Depends, Request

from app.api.access import Access
from app.api.tracing import Trace
from app.service.caller import Caller
from app.service.service import Service


def get_service(request: Request) -> Service:
    """The service of this application."""
    return cast(Service, request.app.state.service)


def get_access(request: Request) -> Access:
    """The keys that this application knows."""
    return cast(Access, request.app.state.access)


ServiceDep = Annotated[Service, Depends(get_service)]
AccessDep = Annotated[Access, Depends(get_access)]


def get_caller(request: Request, access: AccessDep) -> Caller:
    """Who calls; the log line names it. Raises Unauthorized."""
    caller = access.identify(request)
    facts_of(request)["client"] = caller.name
    return caller


def get_admin(request: Request, access: AccessDep) -> Caller:
    """Who calls, and may administer. Raises Unauthorized or Forbidden."""
    return access.identify_admin(request)


def trace_of_request(request: Request) -> Trace:
    """The trace that the middleware gave to this request."""
    return cast(Trace, request.scope["lapsrn.trace"])


def facts_of(request: Request) -> dict[str, Any]:
    """What the request's log line will also say."""
    return cast(dict[str, Any], request.scope["lapsrn.facts"])


async def until_answered() -> AsyncIterator[ExitStack]:
    """What is put on this stack is undone once the answer has been sent, or the client is gone."""
    with ExitStack() as stack:
        yield stack


CallerDep = Annotated[Caller, Depends(get_caller)]
AdminDep = Annotated[Caller, Depends(get_admin)]
HeldDep = Annotated[ExitStack, Depends(until_answered)]
