"""Sends a message, without retries, to an address that was checked and is the one connected to."""

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpcore
import httpx

from app.webhook_rules import Refused, Rules
from app.webhooks.connections import BoundedBackend
from app.webhooks.signature import signed

Resolve = Callable[[str], Awaitable[Sequence[str]]]
_RESOLVERS = 16
_MAX_ADDRESSES = 4
"""Addresses of a name that are tried, one after the other, until a connection succeeds."""


class Sender:
    """Follows no redirects, uses no proxy, and keeps neither connections nor cookies.

    Of a response, only the headers are read, up to connections.MAX_BYTES.
    """

    def __init__(
        self,
        rules: Rules,
        keys: tuple[bytes, ...],
        timeout_seconds: float,
        verify: ssl.SSLContext | None = None,
        resolve: Resolve | None = None,
    ) -> None:
        """Messages are signed with `keys`. The timeout covers a message from resolving the name to the response's
        headers. `verify` defaults to httpx's trusted certificates.
        """
        self._rules, self._keys, self._timeout = rules, keys, timeout_seconds
        self._resolve = resolve or self._addresses
        # Not the loop's default executor, which a slow name server could block for others.
        self._threads = ThreadPoolExecutor(_RESOLVERS, "webhook-names")
        self._connections = httpcore.AsyncConnectionPool(
            ssl_context=verify or httpx.create_ssl_context(trust_env=False),
            max_connections=None,
            max_keepalive_connections=0,
            network_backend=BoundedBackend(),
        )

    async def send(self, url: str, message_id: str, body: bytes) -> int:
        """The status of the response. Raises Refused, TimeoutError, OSError and httpcore's errors."""
        address = httpx.URL(url)
        headers = signed(self._keys, message_id, int(time.time()), body) | {
            "Host": address.netloc.decode(),
            "Content-Length": str(len(body)),
            "Content-Type": "application/json",
            "User-Agent": "lapsrn-webhooks",
        }
        async with asyncio.timeout(self._timeout):
            found = await self._resolve(address.host)
            allowed = [each for each in found if self._rules.allows(each, encrypted=address.scheme == "https")]
            if not allowed:
                raise Refused(f"{address.host} resolves to no allowed address")
            *others, last = allowed[:_MAX_ADDRESSES]
            for each in others:
                with suppress(httpcore.ConnectError):
                    return await self._post(address, each, headers, body)
            return await self._post(address, last, headers, body)

    async def close(self) -> None:
        """Closes the connections, and stops the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        await self._connections.aclose()

    async def _post(self, url: httpx.URL, address: str, headers: dict[str, str], body: bytes) -> int:
        """Connects to `address` itself, so that the name cannot resolve to another one in the meantime."""
        async with self._connections.stream(
            "POST",
            httpcore.URL(
                scheme=url.raw_scheme, host=address.partition("%")[0].encode(), port=url.port, target=url.raw_path
            ),
            headers=list(headers.items()),
            content=body,
            extensions={"sni_hostname": url.host},
        ) as response:
            return response.status

    async def _addresses(self, host: str) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        )
        return [str(each[4][0]) for each in found]
