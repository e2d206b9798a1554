"""Responses that carry a picture, with links to its other levels."""

from collections.abc import Iterable

from fastapi import Request
from starlette.responses import Response

from app.api.addresses import picture_address, prefix_of
from app.api.cookies import set_cookie
from app.api.negotiation import is_meant, revalidates
from app.api.ranges import part
from app.errors import PreconditionFailed
from app.options import UpscaleOptions
from app.results import StoredPicture
from app.service.pipeline import Order, Upscaled
from app.service.stages import Stages

CACHE_CONTROL = "private, no-cache"


def upscaled_response(
    request: Request, order: Order, upscaled: Upscaled, stages: Stages, kept_seconds: int
) -> Response:
    """200 with the largest picture of an order and, if stored, links to its levels; the cookie lasts `kept_seconds`."""
    picture = upscaled.levels[upscaled.level]
    headers = {
        "ETag": picture.etag,
        "Cache-Control": "no-store",
        "Vary": "Accept",
        "Content-Disposition": _content_disposition(picture.media_type, _made(order.options, upscaled)),
        "X-Upscale-Model": upscaled.network,
        "X-Upscale-Clean": picture.clean,
        "Server-Timing": stages.server_timing(),
    }
    if upscaled.truncated:
        headers["X-Upscale-Truncated"] = "true"
    if upscaled.left_out:
        headers["X-Upscale-Metadata"] = "; ".join(upscaled.left_out)
    response = Response(picture.body, 200, headers, picture.media_type)
    if upscaled.stored:
        prefix = prefix_of(request.scope)
        response.headers.update(_link_headers(prefix, order.result_id, upscaled.level, upscaled.levels))
        set_cookie(response, request, order.result_id, kept_seconds)
    return response


def picture_response(request: Request, picture: StoredPicture, level: int) -> Response:
    """200 with the picture, 206 with the requested range, or 304 if the client has it already.

    Raises PreconditionFailed, RangeNotSatisfiable.
    """
    if not is_meant(request.headers.get("if-match", ""), picture.etag):
        raise PreconditionFailed(
            f"If-Match names another version: this picture's ETag is {picture.etag}. Send the request without If-Match."
        )
    headers = {"ETag": picture.etag, "Cache-Control": CACHE_CONTROL, "Vary": "Cookie", "Accept-Ranges": "bytes"}
    if revalidates(request.headers.get("if-none-match", ""), picture.etag):
        return Response(status_code=304, headers=headers)
    headers["Content-Disposition"] = _content_disposition(picture.media_type, f"x{level}")
    if picture.clean:
        headers["X-Upscale-Clean"] = picture.clean
    size = len(picture.body)
    wanted = part(request.headers.get("range", ""), request.headers.get("if-range", ""), picture.etag, size)
    if wanted is None:
        return Response(picture.body, 200, headers, picture.media_type)
    headers["Content-Range"] = f"bytes {wanted[0]}-{wanted[-1]}/{size}"
    body = memoryview(picture.body)[wanted.start : wanted.stop]  # no copy: copies for a flood would block the loop
    return Response(body, 206, headers, picture.media_type)


def _link_headers(prefix: str, result_id: str, level: int, levels: Iterable[int]) -> dict[str, str]:
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


def _content_disposition(media_type: str, made: str) -> str:
    """Suggests a file name to browsers; `made` is from `_made`."""
    return f'inline; filename="upscaled_{made}.{media_type.partition("/")[2]}"'


def _made(options: UpscaleOptions, upscaled: Upscaled) -> str:
    """The part of the file name that describes the result: its size if one was asked for, otherwise the scale."""
    return f"{upscaled.width}x{upscaled.height}" if options.sized else f"x{options.scale:g}"
