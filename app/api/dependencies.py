"""FastAPI dependencies of the routes: the service, the caller, the trace.

They are coroutines even where nothing is awaited, as FastAPI runs plain functions in threads.
"""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Annotated, Any, cast

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError

from app.api.access import Access
from app.api.tracing import Trace
from app.errors import CrossSite
from app.service.caller import Caller
from app.service.response_budget import Reader
from app.service.service import Service

_SINGLE = ("authorization", "content-type", "idempotency-key", "webhook-url", "x-api-key")


def service_of(request: Request) -> Service:
    """The service of this application."""
    return cast(Service, request.app.state.service)


async def get_service(request: Request) -> Service:
    """The service, as a dependency."""
    return service_of(request)


async def get_access(request: Request) -> Access:
    """The API keys of this application."""
    return cast(Access, request.app.state.access)


ServiceDep = Annotated[Service, Depends(get_service)]
AccessDep = Annotated[Access, Depends(get_access)]


async def get_caller(request: Request, access: AccessDep) -> Caller:
    """The caller, whose name is added to the log line. Raises Unauthorized."""
    caller = access.identify(request)
    facts_of(request)["client"] = caller.name
    return caller


async def get_admin(request: Request, access: AccessDep) -> Caller:
    """The caller, an administrator. Raises Unauthorized or Forbidden."""
    return access.identify_admin(request)


def trace_of_request(request: Request) -> Trace:
    """The trace that the middleware gave to this request."""
    return cast(Trace, request.scope["lapsrn.trace"])


def facts_of(request: Request) -> dict[str, Any]:
    """Additional fields of the request's log line."""
    return cast(dict[str, Any], request.scope["lapsrn.facts"])


def reader_of(request: Request) -> Reader | None:
    """The connection that reads the response; None if the server does not provide it."""
    return cast(Reader | None, request.scope.get("lapsrn.reader"))


async def once_each(request: Request) -> None:
    """Raises RequestValidationError for a query parameter or a single-valued header that occurs more than once.

    The framework would pick one of the values, and a proxy or cache in front possibly the other.
    """
    places = Counter(("query", name) for name, _ in request.query_params.multi_items())
    places.update(("header", name) for name, _ in request.headers.items() if name in _SINGLE)
    repeated = [place for place, count in places.items() if count > 1]
    if repeated:
        raise RequestValidationError([{"loc": place, "type": "repeated", "msg": "repeated"} for place in repeated])


async def same_site(request: Request) -> None:
    """Raises CrossSite for requests that a browser sends for a page of another site, unless its origin is allowed.

    Forms need no permission by CORS, so any page could put its visitors' own service to work, at the expense of its
    users. Programs, and browsers without Sec-Fetch-Site, are served.
    """
    origin = request.headers.get("origin", "")
    allowed = service_of(request).settings.cors_origins
    if request.headers.get("sec-fetch-site") == "cross-site" and origin not in allowed:
        raise CrossSite(
            "A browser sent this for a page of another site. Use this service's own page, or have the operator add its "
            "origin to LAPSRN_CORS_ORIGINS."
        )


async def until_answered() -> AsyncIterator[ExitStack]:
    """A stack whose callbacks run once the response has been sent, or the client is gone."""
    with ExitStack() as stack:
        yield stack


CallerDep = Annotated[Caller, Depends(get_caller)]
AdminDep = Annotated[Caller, Depends(get_admin)]
HeldDep = Annotated[ExitStack, Depends(until_answered)]
