"""Turns the exceptions that leave a route into responses."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from app.api.addresses import path_of, prefix_of
from app.api.dependencies import facts_of, service_of, trace_of_request
from app.api.disconnect import ClientGone
from app.api.middleware import CLIENT_CLOSED_REQUEST, route_of
from app.api.problems import Problem, problem_of, problem_of_parameters, problem_of_status
from app.errors import LapsrnError


def install(app: FastAPI) -> None:
    """Registers the handlers. Other exceptions reach the Fallback middleware, which answers with a fixed text."""
    for kind in (LapsrnError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _problem)
    app.add_exception_handler(ClientDisconnect, _gone_while_reading)
    app.add_exception_handler(ClientGone, _gone)


async def _problem(request: Request, error: Exception) -> Response:
    problem = _describe(request, error)
    facts_of(request)["problem"] = problem.kind.slug
    if route_of(request.scope) == "/upscale" and request.method == "POST":
        service_of(request).metrics.rejected(problem.kind.slug)
    return problem.response(trace_of_request(request).request_id)


def _describe(request: Request, error: Exception) -> Problem:
    if isinstance(error, RequestValidationError):
        return problem_of_parameters(error.errors(), _parameters(request))
    if isinstance(error, HTTPException):
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = _allowed(request, headers.get("Allow", ""))
        return problem_of_status(error.status_code, prefix_of(request.scope), path_of(request.scope), headers)
    return problem_of(error, prefix_of(request.scope))


def _parameters(request: Request) -> list[str]:
    """The names of the query parameters that this route documents."""
    operations = request.app.openapi()["paths"].get(route_of(request.scope), {})
    parameters = operations.get(request.method.lower(), {}).get("parameters", [])
    return [parameter["name"] for parameter in parameters if parameter["in"] == "query"]


def _allowed(request: Request, named: str) -> str:
    """Every method of this path: the framework's `named` ones are those of one route only."""
    methods = {method.upper() for method in request.app.openapi()["paths"].get(route_of(request.scope), ())}
    methods |= {method.strip() for method in named.split(",") if method}
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))


async def _gone_while_reading(request: Request, error: Exception) -> Response:
    service_of(request).metrics.cancelled("read")
    return Response(status_code=CLIENT_CLOSED_REQUEST)


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED_REQUEST)
