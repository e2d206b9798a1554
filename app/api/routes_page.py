"""Serves the web page and its files."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

_CACHE = {"Cache-Control": "no-cache"}
"""Makes caches revalidate each time; otherwise they could combine an old script with a new page."""

_MAX_PATH = 1024
"""Resolving a path of 32,000 nested folders takes 0.3 s."""


class _PageFiles(StaticFiles):
    def get_path(self, scope: Scope) -> str:
        if len(scope["path"]) > _MAX_PATH:
            raise HTTPException(404)
        return super().get_path(scope)

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_CACHE)
        return response


def mount_page(app: FastAPI, folder: Path) -> None:
    """Serves `folder`/index.html at / and the whole folder at /static; nothing if there is no such file."""
    index = folder / "index.html"
    if not index.is_file():
        return

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        """The page."""
        return FileResponse(index, media_type="text/html", headers=_CACHE)

    app.mount("/static", _PageFiles(directory=folder), name="static")
