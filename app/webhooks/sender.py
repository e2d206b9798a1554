"""Sends one message, once: to an address that was checked and is the one connected to."""

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx

from app.webhook_rules import Refused, Rules
from app.webhooks.signature import signed

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
_RESOLVERS = 16
_MOST_ADDRESSES = 4
"""Of a name, tried one after the other while none answers."""


class Sender:
    """Follows no redirects, asks no proxy, keeps no connection, and reads no more of an answer than its headers."""

    def __init__(
        self,
        rules: Rules,
        keys: tuple[bytes, ...],
        timeout_seconds: float,
        verify: bool | ssl.SSLContext = True,
        resolve: Resolve | None = None,
    ) -> None:
        """`keys` sign; the time is for one message from the name's resolution to the answer's headers.

        `verify` is httpx's, for certificates.
        """
        self._rules, self._keys, self._timeout = rules, keys, timeout_seconds
        self._resolve = resolve or self._addresses
        # Not the loop's own threads: a name server may take its time, and others need those.
        self._threads = ThreadPoolExecutor(_RESOLVERS, "webhook-names")
        self._client = httpx.AsyncClient(
            timeout=None,
            follow_redirects=False,
            trust_env=False,
            verify=verify,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        )

    async def send(self, url: str, message_id: str, body: bytes) -> int:
        """The status of the answer. Raises Refused, TimeoutError, OSError and httpx.HTTPError."""
        address = httpx.URL(url)
        headers = signed(self._keys, message_id, int(time.time()), body) | {
            "Host": address.netloc.decode(),
            "Content-Type": "application/json",
            "User-Agent": "lapsrn-webhooks",
        }
        async with asyncio.timeout(self._timeout):
            port = address.port or (443 if address.scheme == "https" else 80)
            found = await self._resolve(address.host, port)
            allowed = [each for each in found if self._rules.allows(each, encrypted=address.scheme == "https")]
            if not allowed:
                raise Refused(f"{address.host} leads to no address that is allowed")
            *others, last = allowed[:_MOST_ADDRESSES]
            for each in others:
                with suppress(httpx.ConnectError):
                    return await self._post(address, each, headers, body)
            return await self._post(address, last, headers, body)

    async def close(self) -> None:
        """Closes what is open."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        await self._client.aclose()

    async def _post(self, url: httpx.URL, address: str, headers: dict[str, str], body: bytes) -> int:
        """The address itself is connected to, so that the name cannot lead elsewhere in the meantime."""
        request = self._client.build_request(
            "POST",
            url.copy_with(host=address.partition("%")[0]),
            content=body,
            headers=headers,
            extensions={"sni_hostname": url.host},
        )
        response = await self._client.send(request, stream=True)
        await response.aclose()
        return response.status_code

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        return [str(each[4][0]) for each in found]
