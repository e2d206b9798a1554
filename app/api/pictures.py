"""Responses that carry a picture, and the headers and cookie by which its other levels are found."""

from collections.abc import Iterable

from fastapi import Request
from starlette.responses import Response

from app.api.negotiation import revalidates
from app.formats import OUTPUT_FORMATS
from app.results import StoredPicture

COOKIE = "upscale_id"
CACHE_CONTROL = "private, no-cache"
_SUFFIXES = {row.media_type: row.name for row in OUTPUT_FORMATS.values()}


def address_of(result_id: str, level: int) -> str:
    """Where GET finds a level of a result."""
    return f"/upscale?level={level}&id={result_id}"


def link_headers(result_id: str, level: int, levels: Iterable[int]) -> dict[str, str]:
    """X-Upscale-Id, Content-Location, and Link to every other level."""
    others = [
        f'<{address_of(result_id, other)}>; rel="alternate"; title="x{other}"' for other in levels if other != level
    ]
    headers = {"X-Upscale-Id": result_id, "Content-Location": address_of(result_id, level)}
    if others:
        headers["Link"] = ", ".join(others)
    return headers


def set_cookie(response: Response, request: Request, result_id: str, seconds: int) -> None:
    """The cookie by which GET /upscale finds the result; it lives as long as the result."""
    response.set_cookie(
        COOKIE,
        result_id,
        max_age=seconds,
        path="/upscale",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def picture_response(request: Request, picture: StoredPicture, level: int) -> Response:
    """200 with the picture, or 304 when the client has it already."""
    headers = {"ETag": picture.etag, "Cache-Control": CACHE_CONTROL, "Vary": "Cookie"}
    if revalidates(request.headers.get("if-none-match", ""), picture.etag):
        return Response(status_code=304, headers=headers)
    suffix = _SUFFIXES.get(picture.media_type, "bin")  # a store that is shared may hold formats of a newer version
    headers["Content-Disposition"] = f'inline; filename="upscaled_x{level}.{suffix}"'
    return Response(picture.body, 200, headers, picture.media_type)
