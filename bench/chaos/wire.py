"""A small HTTP client that can misbehave: leave half-way, drip its body, come from any loopback address."""

import asyncio
import hashlib
import time
from dataclasses import dataclass

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; `digest` is of the body, `seconds` from connecting to the last byte."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    @property
    def digest(self) -> str:
        """SHA-256 of the body, in hex."""
        return hashlib.sha256(self.body).hexdigest()


def head(method: str, path: str, length: int, *, last: bool = True) -> bytes:
    """Request line and headers of a body of `length` bytes, and whether it is the `last` of its connection."""
    content = f"Content-Type: image/png\r\nContent-Length: {length}\r\n" if length else ""
    close = "Connection: close\r\n" if last else ""
    return f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n{close}{content}\r\n".encode()


def source_address(number: int) -> str:
    """A loopback address of its own for each client, since the service limits clients by address."""
    return f"127.{1 + number // 62500 % 200}.{number // 250 % 250}.{1 + number % 250}"


async def connect(port: int, client: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection from `client`'s own loopback address to 127.0.0.1:`port`."""
    return await asyncio.open_connection(HOST, port, local_addr=(source_address(client), 0))


async def read_reply(reader: asyncio.StreamReader, began: float) -> Reply:
    """The whole answer. Raises OSError or EOFError when the server breaks off."""
    top = await reader.readuntil(b"\r\n\r\n")
    lines = top.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    body = await reader.readexactly(int(headers["content-length"])) if "content-length" in headers else b""
    return Reply(int(lines[0].split()[1]), headers, body, time.monotonic() - began)


async def exchange(port: int, method: str, path: str, body: bytes = b"", client: int = 0, wait: float = 330) -> Reply:
    """One request, one answer. Raises TimeoutError after `wait` seconds."""
    began = time.monotonic()
    async with asyncio.timeout(wait):
        reader, writer = await connect(port, client)
        try:
            writer.write(head(method, path, len(body)) + body)
            await writer.drain()
            return await read_reply(reader, began)
        finally:
            writer.close()


async def leave(port: int, body: bytes, after: float, client: int) -> None:
    """Sends a picture and hangs up `after` seconds later; with 0, in the middle of the body."""
    _, writer = await connect(port, client)
    whole = head("POST", "/upscale?scale=4", len(body)) + body
    writer.write(whole if after else whole[: len(whole) // 2])
    await writer.drain()
    await asyncio.sleep(after)
    writer.transport.abort()


async def drip(port: int, length: int, until: float, client: int) -> int | None:
    """Announces `length` bytes and sends one a second until time.monotonic() is `until`, or the server has had enough.

    Returns the status that the server answered meanwhile, or None.
    """
    reader, writer = await connect(port, client)
    began = time.monotonic()
    try:
        writer.write(head("POST", "/upscale?scale=4", length))
        answer = asyncio.ensure_future(read_reply(reader, began))
        while time.monotonic() < until and not answer.done():
            writer.write(b"\x89")
            await writer.drain()
            await asyncio.wait([answer], timeout=min(1.0, max(0.0, until - time.monotonic())))
        if answer.done():
            return answer.result().status
        answer.cancel()
        await asyncio.gather(answer, return_exceptions=True)
        return None
    except (OSError, EOFError):
        return None
    finally:
        writer.transport.abort()
