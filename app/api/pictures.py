"""Responses that carry a picture, and the headers and cookie by which its other levels are found."""

from collections.abc import Iterable

from fastapi import Request
from starlette.responses import Response

from app.api.addresses import picture_address, prefix_of
from app.api.cookies import COOKIE
from app.api.negotiation import is_meant, revalidates
from app.api.ranges import part
from app.errors import PreconditionFailed
from app.results import StoredPicture

CACHE_CONTROL = "private, no-cache"


def link_headers(prefix: str, result_id: str, level: int, levels: Iterable[int]) -> dict[str, str]:
    """X-Upscale-Id, Content-Location, and Link to every other level."""
    others = [
        f'<{picture_address(prefix, result_id, other)}>; rel="alternate"; title="x{other}"'
        for other in levels
        if other != level
    ]
    headers = {"X-Upscale-Id": result_id, "Content-Location": picture_address(prefix, result_id, level)}
    if others:
        headers["Link"] = ", ".join(others)
    return headers


def set_cookie(response: Response, request: Request, result_id: str, seconds: int) -> None:
    """The cookie by which GET /upscale finds the result; it lives as long as the result."""
    response.set_cookie(
        COOKIE,
        result_id,
        max_age=seconds,
        path=cookie_path(request),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def cookie_path(request: Request) -> str:
    """The addresses that get the cookie."""
    return f"{prefix_of(request.scope)}/upscale"


def content_disposition(media_type: str, made: str) -> str:
    """The name under which a browser saves the picture; `made` says how it was."""
    return f'inline; filename="upscaled_{made}.{media_type.partition("/")[2]}"'


def picture_response(request: Request, picture: StoredPicture, level: int) -> Response:
    """200 with the picture, 206 with the part that the client lacks, or 304 when it has it already.

    Raises PreconditionFailed, RangeNotSatisfiable.
    """
    if not is_meant(request.headers.get("if-match", ""), picture.etag):
        raise PreconditionFailed(
            f"If-Match names another version: this picture's ETag is {picture.etag}. Send the request without If-Match."
        )
    headers = {"ETag": picture.etag, "Cache-Control": CACHE_CONTROL, "Vary": "Cookie", "Accept-Ranges": "bytes"}
    if revalidates(request.headers.get("if-none-match", ""), picture.etag):
        return Response(status_code=304, headers=headers)
    headers["Content-Disposition"] = content_disposition(picture.media_type, f"x{level}")
    if picture.clean:
        headers["X-Upscale-Clean"] = picture.clean
    size = len(picture.body)
    wanted = part(request.headers.get("range", ""), request.headers.get("if-range", ""), picture.etag, size)
    if wanted is None:
        return Response(picture.body, 200, headers, picture.media_type)
    headers["Content-Range"] = f"bytes {wanted[0]}-{wanted[-1]}/{size}"
    return Response(picture.body[wanted.start : wanted.stop], 206, headers, picture.media_type)
