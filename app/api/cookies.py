"""The service's one cookie, which names a result: set, expired, and taken out of what a browser sends along."""

import re
from collections.abc import Iterable

from fastapi import Request
from starlette.responses import Response

from app.api.addresses import prefix_of

COOKIE = "upscale_id"
_OURS = re.compile(COOKIE.encode() + rb"=[^;]*")
Fields = list[tuple[bytes, bytes]]


def set_cookie(response: Response, request: Request, result_id: str, seconds: int) -> None:
    """The cookie by which GET /upscale finds the result; it lives as long as the result."""
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
    """Has the browser forget it."""
    response.delete_cookie(COOKIE, path=_path(request), httponly=True, samesite="strict")


def only_ours(headers: Iterable[tuple[bytes, bytes]]) -> Fields:
    """The headers of an ASGI scope, and of cookies nothing but COOKIE, the last of several, without quotes.

    FastAPI parses all cookies for every route, and where Python is older than 3.11.10 or 3.12.6, unquoting takes time
    with the square of their length (CVE-2024-7592): 64 KiB of backslashes stop the event loop for 13 s.
    """
    return [(name, _ours(value) if name == b"cookie" else value) for name, value in headers]


def _path(request: Request) -> str:
    """The addresses that get the cookie."""
    return f"{prefix_of(request.scope)}/upscale"


def _ours(value: bytes) -> bytes:
    """Looks at what begins with the name alone: to split 60 KiB of semicolons would keep others waiting."""
    ours = b""
    for found in _OURS.finditer(value):
        begin = value.rfind(b";", 0, found.start()) + 1
        if not value[begin : found.start()].strip():
            ours = found[0].strip()
    return ours.replace(b'"', b"")
