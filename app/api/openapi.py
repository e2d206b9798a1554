"""Completes the OpenAPI document with what FastAPI cannot know about responses that routes build themselves."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.api.openapi_responses import EVERYWHERE, REQUEST_ID_HEADER, TRACEPARENT_HEADER
from app.api.schemas import ProblemDocument

Document = dict[str, Any]

_GUARDED = ("/upscale", "/jobs", "/admin")
_TAGS = [
    {"name": "upscale", "description": "Pictures in, larger pictures out."},
    {"name": "jobs", "description": "Upscales that run in the background."},
    {"name": "operations", "description": "Health, metrics, and what is served."},
]
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, where the operator has set any."},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same in a header of its own."},
}


def complete(app: FastAPI) -> None:
    """Replaces `app.openapi` with a function that builds the complete document once."""

    def document() -> Document:
        if app.openapi_schema is None:
            app.openapi_schema = build(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def build(app: FastAPI) -> Document:
    """The document."""
    schema = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        tags=_TAGS,
        license_info={"name": "MIT", "identifier": "MIT"},
    )
    components = schema["components"]
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    components["schemas"]["ProblemDocument"] = ProblemDocument.model_json_schema()
    components["securitySchemes"] = _SCHEMES
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            _finish(operation, guarded=path.startswith(_GUARDED))
    return schema


def _finish(operation: Document, guarded: bool) -> None:
    """Adds what applies to every operation: ids in every response, and the errors that any request may get."""
    if guarded:
        operation["security"] = [{}, {"bearer": []}, {"key": []}]
    operation["responses"] = dict(sorted((EVERYWHERE | operation["responses"]).items()))
    for response in operation["responses"].values():
        headers = response.setdefault("headers", {})
        headers["X-Request-Id"] = REQUEST_ID_HEADER
        headers["traceparent"] = TRACEPARENT_HEADER
    for parameter in operation.get("parameters", []):
        parameter["schema"] = _without_null(parameter["schema"])
        parameter["schema"].pop("description", None)
        if "anyOf" in parameter["schema"]:  # OpenAPI Generator's Go code for a default of a union does not compile
            parameter["schema"].pop("default", None)


def _without_null(schema: Document) -> Document:
    """A parameter's schema without null: optional parameters are left out, never sent as null."""
    kinds: list[Document] = schema.get("anyOf", [])
    others = [kind for kind in kinds if kind != {"type": "null"}]
    if others == kinds:
        return schema
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    return (others[0] if len(others) == 1 else {"anyOf": others}) | rest
