"""GET /docs: Swagger UI from locally installed files, under the same strict policy as everything else."""

from importlib.util import find_spec
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, HTMLResponse
from starlette.responses import Response

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: HTTP interface</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="docs"></div>
<noscript>The same as JSON: <a href="openapi.json">openapi.json</a></noscript>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START = 'SwaggerUIBundle({ url: "openapi.json", dom_id: "#docs", deepLinking: true });\n'
_CACHE = {"Cache-Control": "public, max-age=86400"}


def mount_docs(app: FastAPI) -> None:
    """Serves /docs and its three files; FastAPI's own page would load them from a third party."""
    files = _files()

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        """The page."""
        return HTMLResponse(_PAGE.format(title=app.title))

    @app.get("/docs/start.js", include_in_schema=False)
    async def start() -> Response:
        """A file, as the Content-Security-Policy allows no inline script."""
        return Response(_START, headers=_CACHE, media_type="text/javascript")

    @app.get("/docs/swagger-ui-bundle.js", include_in_schema=False)
    async def script() -> FileResponse:
        """Swagger UI."""
        return FileResponse(files / "swagger-ui-bundle.js", headers=_CACHE, media_type="text/javascript")

    @app.get("/docs/swagger-ui.css", include_in_schema=False)
    async def style() -> FileResponse:
        """Swagger UI's style sheet."""
        return FileResponse(files / "swagger-ui.css", headers=_CACHE, media_type="text/css")


def _files() -> Path:
    """The folder of Swagger UI in the package fastapi-offline, of which only these files are used."""
    spec = find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("fastapi-offline is not installed; install this project's requirements")
    return Path(spec.origin).parent / "static"
