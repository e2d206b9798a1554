"""What routes ask for by type: the service, the caller, the trace.

Dependencies are coroutines even where nothing is awaited: FastAPI runs each plain function in a thread.
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
from app.service.answer_budget import Reader
from app.service.caller import Caller
from app.service.service import Service

_SINGLE = ("authorization", "content-type", "idempotency-key", "webhook-url", "x-api-key")


def service_of(request: Request) -> Service:
    """The service of this application."""
    return cast(Service, request.app.state.service)


async def get_service(request: Request) -> Service:
    """The same as a dependency."""
    return service_of(request)


async def get_access(request: Request) -> Access:
    """The keys that this application knows."""
    return _access_of(request)


def _access_of(request: Request) -> Access:
    return cast(Access, request.app.state.access)


ServiceDep = Annotated[Service, Depends(get_service)]
AccessDep = Annotated[Access, Depends(get_access)]


async def get_caller(request: Request) -> Caller:
    """Who calls; the log line names it. Raises Unauthorized."""
    caller = _access_of(request).identify(request)
    facts_of(request)["client"] = caller.name
    return caller


async def get_admin(request: Request) -> Caller:
    """Who calls, and may administer. Raises Unauthorized or Forbidden."""
    return _access_of(request).identify_admin(request)


def trace_of_request(request: Request) -> Trace:
    """The trace that the middleware gave to this request."""
    return cast(Trace, request.scope["lapsrn.trace"])


def facts_of(request: Request) -> dict[str, Any]:
    """What the request's log line will also say."""
    return cast(dict[str, Any], request.scope["lapsrn.facts"])


def reader_of(request: Request) -> Reader | None:
    """Who reads the answer, if the server says so."""
    return cast(Reader | None, request.scope.get("lapsrn.reader"))


async def once_each(request: Request) -> None:
    """Raises RequestValidationError for a query parameter, or a header of one value, that is there twice.

    Frameworks take the first or the last of them, proxies and caches the other one.
    """
    places = Counter(("query", name) for name, _ in request.query_params.multi_items())
    places.update(("header", name) for name, _ in request.headers.items() if name in _SINGLE)
    repeated = [place for place, count in places.items() if count > 1]
    if repeated:
        raise RequestValidationError([{"loc": place, "type": "repeated", "msg": "repeated"} for place in repeated])


async def same_site(request: Request) -> None:
    """Raises CrossSite for what a browser sends for a page of another site, unless the operator has listed its origin.

    A form needs no permission to be sent. Any page could have the visitor's own service work, and take up the share of
    those who use it. Browsers that say nothing of the site, and programs, are served.
    """
    origin = request.headers.get("origin", "")
    allowed = service_of(request).settings.cors_origins
    if request.headers.get("sec-fetch-site") == "cross-site" and origin not in allowed:
        raise CrossSite(
            "A browser sent this for a page of another site. Use this service's own page, or have the operator add its "
            "origin to LAPSRN_CORS_ORIGINS."
        )


async def until_answered() -> AsyncIterator[ExitStack]:
    """What is put on this stack is undone once the answer has been sent, or the client is gone."""
    with ExitStack() as stack:
        yield stack


CallerDep = Annotated[Caller, Depends(get_caller)]
AdminDep = Annotated[Caller, Depends(get_admin)]
HeldDep = Annotated[ExitStack, Depends(until_answered)]
