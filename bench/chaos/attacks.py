"""What one client can do to another: each attack goes on from one address until it is cancelled."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bench.chaos import hostile
from bench.chaos.server import ServiceProcess
from bench.chaos.wire import HOST, connect, head, read_reply, source_address
from bench.processes import children_of

ATTACKER = 1
"""Its number for source_address."""
_PAUSE = 0.05
"""Seconds after an answer that is no picture, so that the attack is more than the speed of a loop."""


@asynccontextmanager
async def connected(
    port: int, client: int = ATTACKER
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection that is broken off at the end, also if that comes while it is made."""
    opening = asyncio.ensure_future(connect(port, client))
    try:
        reader, writer = await asyncio.shield(opening)
    except asyncio.CancelledError:
        await asyncio.gather(opening, return_exceptions=True)
        if opening.exception() is None:
            opening.result()[1].transport.abort()
        raise
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


@dataclass
class Attack:
    """One attack under way."""

    service: ServiceProcess
    statuses: Counter[int] = field(default_factory=Counter)
    """What the attacker was answered; 0 where the connection broke."""

    async def send(self, body: bytes, query: str = "scale=4", headers: str = "", client: int = ATTACKER) -> None:
        """One POST, read to its end."""
        try:
            async with connected(self.service.port, client) as (reader, writer):
                request = head("POST", f"/upscale?{query}", len(body))
                writer.write(request[:-2] + headers.encode() + b"\r\n" + body)
                await writer.drain()
                status = (await read_reply(reader, 0.0)).status
        except (OSError, EOFError):
            status = 0
        self.statuses[status] += 1
        if status != 200:
            await asyncio.sleep(_PAUSE)

    async def again_and_again(self, count: int, body: bytes, query: str = "scale=4", headers: str = "") -> None:
        """`count` connections that send the same again and again."""

        async def one() -> None:
            while True:
                await self.send(body, query, headers)

        await asyncio.gather(*(one() for _ in range(count)))


async def nothing(attack: Attack) -> None:
    """No attack: what is compared with."""
    await asyncio.Event().wait()


async def ensemble(attack: Attack) -> None:
    """A flat picture of 2048 x 2048 with ensemble=true, again and again: 4 KB that are 8,192 tiles."""
    await attack.again_and_again(1, hostile.flat(2048), "scale=4&ensemble=true")


async def planes(attack: Attack) -> None:
    """Eight flat pictures of 2048 x 2048 at a time, again and again."""
    await attack.again_and_again(8, hostile.flat(2048))


async def uploads(attack: Attack) -> None:
    """64 uploads of 4 MiB that stop before their last byte, and begin again when they are cut off."""
    size = 4 * 1024 * 1024

    async def one() -> None:
        while True:
            status = 0
            with contextlib.suppress(OSError, EOFError):
                async with connected(attack.service.port) as (reader, writer):
                    writer.write(head("POST", "/upscale?scale=4", size) + bytes(size - 1))
                    status = (await read_reply(reader, 0.0)).status
            attack.statuses[status] += 1
            await asyncio.sleep(_PAUSE)

    await asyncio.gather(*(one() for _ in range(64)))


async def bodies(attack: Attack) -> None:
    """Bodies of 30 MiB on 200 connections, at 400 MiB/s in all."""
    command = (sys.executable, "-m", "bench.chaos.flood", str(attack.service.port), str(ATTACKER))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        async for line in process.stdout:
            attack.statuses[int(line)] += 1
    finally:
        process.kill()
        await process.wait()


async def jobs(attack: Attack) -> None:
    """Tiny jobs, without end, 16 at a time."""
    await attack.again_and_again(16, hostile.flat(8), headers="Prefer: respond-async\r\n")


async def results(attack: Attack) -> None:
    """Results of 12 to 48 MB, two at a time, to push another client's out of the store."""
    await attack.again_and_again(2, hostile.noise(512))


async def xmp(attack: Attack) -> None:
    """PNGs of 1.6 KB, eight at a time, whose XMP says one word 140,000 times, to be kept."""
    await attack.again_and_again(8, hostile.packet(), "scale=4&metadata=keep")


async def scans(attack: Attack) -> None:
    """JPEGs, eight at a time, with thousands of scans."""
    await attack.again_and_again(8, hostile.scans(2048))


async def headers(attack: Attack) -> None:
    """Headers without an end, on eight connections."""
    line = b"X-Long: " + b"a" * 65536

    async def one() -> None:
        while True:
            status = 0
            with contextlib.suppress(OSError, EOFError):
                async with connected(attack.service.port) as (reader, writer):
                    writer.write(b"POST /upscale HTTP/1.1\r\nHost: x\r\n")
                    answer = asyncio.ensure_future(read_reply(reader, 0.0))
                    try:
                        for _ in range(640):
                            if answer.done():
                                break
                            writer.write(line)
                            await writer.drain()
                        status = (await answer).status
                    finally:
                        answer.cancel()
                        await asyncio.gather(answer, return_exceptions=True)
            attack.statuses[status] += 1
            await asyncio.sleep(_PAUSE)

    await asyncio.gather(*(one() for _ in range(8)))


async def unread(attack: Attack) -> None:
    """32 connections that ask for results of some MB and never read them."""
    body = hostile.noise(256)

    async def one() -> None:
        while True:
            with contextlib.suppress(OSError, EOFError):
                sock = socket.socket()
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                sock.bind((source_address(ATTACKER), 0))
                sock.setblocking(False)
                try:
                    loop = asyncio.get_running_loop()
                    await loop.sock_connect(sock, (HOST, attack.service.port))
                    await loop.sock_sendall(sock, head("POST", "/upscale?scale=4", len(body)) + body)
                    start = await loop.sock_recv(sock, 16)
                    status = int(start.split()[1]) if start.count(b" ") > 1 else 0
                    attack.statuses[status] += 1
                    if status == 200:
                        await asyncio.sleep(60)
                finally:
                    sock.close()
            await asyncio.sleep(_PAUSE)

    await asyncio.gather(*(one() for _ in range(32)))


async def names(attack: Attack) -> None:
    """Requests from 6,000 addresses, one after the other, 8 at a time."""
    numbers = iter(range(10_000, 10_000_000))

    async def one() -> None:
        while True:
            await attack.send(b"no picture", client=10_000 + next(numbers) % 6000)

    await asyncio.gather(*(one() for _ in range(8)))


async def decoders(attack: Attack) -> None:
    """A decoder process is killed every other second, whatever it is doing, as if its picture had brought it down."""
    while True:
        await asyncio.sleep(2.0)
        if pids := children_of(attack.service.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids[sum(attack.statuses.values()) % len(pids)], signal.SIGKILL)
                attack.statuses[0] += 1


async def connections(attack: Attack) -> None:
    """Connections that say nothing, as many as the service lets in."""
    held: list[asyncio.StreamWriter] = []
    try:
        while True:
            with contextlib.suppress(OSError):
                held.append((await connect(attack.service.port, ATTACKER))[1])
            if len(held) > 2000:
                held.pop(0).transport.abort()
            await asyncio.sleep(0.002)
    finally:
        for writer in held:
            writer.transport.abort()


async def polls(attack: Attack) -> None:
    """GETs of a level that does not exist, on 200 connections, as fast as they are answered."""
    again = head("GET", f"/upscale?level=2&id={'A' * 32}", 0, last=False)

    async def one() -> None:
        while True:
            try:
                async with connected(attack.service.port) as (reader, writer):
                    while True:
                        writer.write(again)
                        attack.statuses[(await read_reply(reader, 0.0)).status] += 1
            except (OSError, EOFError):
                attack.statuses[0] += 1

    await asyncio.gather(*(one() for _ in range(200)))


ATTACKS: Mapping[str, Callable[[Attack], Awaitable[None]]] = {
    each.__name__: each
    for each in (
        nothing,
        ensemble,
        planes,
        uploads,
        bodies,
        jobs,
        results,
        xmp,
        scans,
        headers,
        unread,
        names,
        connections,
        polls,
        decoders,
    )
}
