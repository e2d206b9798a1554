"""The service's one cookie, taken out of what a browser sends along."""

import re
from collections.abc import Iterable

COOKIE = "upscale_id"
_OURS = re.compile(COOKIE.encode() + rb"=[^;]*")
Fields = list[tuple[bytes, bytes]]


def only_ours(headers: Iterable[tuple[bytes, bytes]]) -> Fields:
    """The headers of an ASGI scope, and of cookies nothing but COOKIE, the last of several, without quotes.

    FastAPI parses all cookies for every route, and where Python is older than 3.11.10 or 3.12.6, unquoting takes time
    with the square of their length (CVE-2024-7592): 64 KiB of backslashes stop the event loop for 13 s.
    """
    return [(name, _ours(value) if name == b"cookie" else value) for name, value in headers]


def _ours(value: bytes) -> bytes:
    """Looks at what begins with the name alone: to split 60 KiB of semicolons would keep others waiting."""
    ours = b""
    for found in _OURS.finditer(value):
        begin = value.rfind(b";", 0, found.start()) + 1
        if not value[begin : found.start()].strip():
            ours = found[0].strip()
    return ours.replace(b'"', b"")
