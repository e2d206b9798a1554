"""Rules of HTTP that neither the parser nor uvicorn enforces."""

from collections.abc import Sequence
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from app.errors import MalformedRequest

_FRAMING = (b"connection", b"content-length", b"transfer-encoding")
"""The headers that decide where a body ends, and whether another request may follow."""


def check_head(headers: Sequence[tuple[bytes, bytes]], version: str) -> None:
    """Raises MalformedRequest for headers without one Host, or with a coding of the body that is not decoded.

    Names of headers are in lower case; `version` is that of HTTP, such as "1.1".
    """
    hosts = sum(name == b"host" for name, _ in headers)
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        raise MalformedRequest("A request has to have one header Host (RFC 9112, section 3.2).")
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    if codings not in ([], [b"chunked"]):  # the parser accepts all that end with chunked, but decodes only that
        raise MalformedRequest(
            "Transfer-Encoding: the body may be chunked, but not coded in another way. Send it as it is."
        )


def framing_head(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The head of a request that has nothing but the framing headers among these; b"" without any."""
    framing = b"".join(b"%s: %s\r\n" % each for each in headers if each[0] in _FRAMING)
    return b"POST / HTTP/1.1\r\n" + framing + b"\r\n" if framing else b""


def respond_as_http_1_0(cycle: RequestResponseCycle) -> None:
    """Sends neither chunks nor 100 (Continue), which HTTP/1.0 lacks: RFC 9112, 6.1, and RFC 9110, 10.1.1.

    A response of unknown length ends with the connection.
    """
    cycle.waiting_for_100_continue = cycle.keep_alive = False
    send, framed = cycle.send, True

    async def unframed(message: Any) -> None:
        nonlocal framed
        if message["type"] == "http.response.start":
            framed = any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
            cycle.chunked_encoding = None if framed else False
        elif not framed:
            cycle.expected_content_length = len(message.get("body", b""))
        await send(message)

    cycle.send = unframed  # type: ignore[method-assign]
