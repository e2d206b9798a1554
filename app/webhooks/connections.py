"""Connections to webhook receivers, with a limit on what they may answer."""

import ssl
from typing import Any

import httpcore

MAX_BYTES = 32 * 1024
"""Maximum bytes read from one connection: the headers of a response, and interim responses (1xx) before it."""


class BoundedBackend(httpcore.AnyIOBackend):
    """httpcore's backend with a limit of MAX_BYTES."""

    async def connect_tcp(self, *arguments: Any, **named: Any) -> httpcore.AsyncNetworkStream:
        """See httpcore."""
        return _Bounded(await super().connect_tcp(*arguments, **named))


class _Bounded(httpcore.AsyncNetworkStream):
    """A connection; raises httpcore.RemoteProtocolError if the peer sends too much."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._left = MAX_BYTES

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        data = await self._stream.read(max_bytes, timeout)
        self._left -= len(data)
        if self._left < 0:
            raise httpcore.RemoteProtocolError(f"the response has more than {MAX_BYTES} bytes before its body")
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        return _Bounded(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
