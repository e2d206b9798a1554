"""The service's only cookie, which names a result: setting, expiring and extracting it."""

import re
from collections.abc import Iterable

from fastapi import Request
from starlette.responses import Response

from app.api.addresses import prefix_of

COOKIE = "upscale_id"
_OURS = re.compile(COOKIE.encode() + rb"=[^;]*")
Fields = list[tuple[bytes, bytes]]


def set_cookie(response: Response, request: Request, result_id: str, seconds: int) -> None:
    """Sets the cookie by which GET /upscale finds the result; it lasts as long as the result."""
    response.set_cookie(
        COOKIE,
        result_id,
        max_age=seconds,
        path=_path(request),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def expire_cookie(response: Response, request: Request) -> None:
    """Makes the browser delete the cookie."""
    response.delete_cookie(COOKIE, path=_path(request), httponly=True, samesite="strict")


def only_ours(headers: Iterable[tuple[bytes, bytes]]) -> Fields:
    """The headers of an ASGI scope, without cookies other than COOKIE; of several, the last one, without quotes.

    FastAPI parses all cookies for every route, and before Python 3.11.10 and 3.12.6, unquoting takes quadratic time
    (CVE-2024-7592): 64 KiB of backslashes block the event loop for 13 s.
    """
    return [(name, _ours(value) if name == b"cookie" else value) for name, value in headers]


def _path(request: Request) -> str:
    """The path for which browsers send the cookie."""
    return f"{prefix_of(request.scope)}/upscale"


def _ours(value: bytes) -> bytes:
    """The last COOKIE in a Cookie header. Searches for its name, as splitting 60 KiB of semicolons would be slow."""
    ours = b""
    for found in _OURS.finditer(value):
        begin = value.rfind(b";", 0, found.start()) + 1
        if not value[begin : found.start()].strip():
            ours = found[0].strip()
    return ours.replace(b'"', b"")
