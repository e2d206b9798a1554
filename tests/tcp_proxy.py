"""A TCP proxy on loopback that is slow, hangs, or is gone: a network as it should not be, in front of a real server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_PIECE = 16 * 1024


class Proxy:
    """Forwards to a port of this machine."""

    def __init__(self, target: int) -> None:
        self.target = target
        """Where new connections end."""
        self.port = 0
        self.bytes_per_second = 0.0
        """0: as fast as it goes."""
        self.taken = 0
        """Bytes that came from clients."""
        self._hang_at = 0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """As a Redis."""
        return f"redis://127.0.0.1:{self.port}/0"

    def hang(self) -> None:
        """Connections stay, also new ones, and nothing comes through."""
        self._flowing.clear()

    def hang_after(self, count: int) -> None:
        """Hangs as soon as `count` more bytes have come from clients, before the last of them is passed on."""
        self._hang_at = self.taken + count

    @property
    def hangs(self) -> bool:
        """Whether nothing comes through."""
        return not self._flowing.is_set()

    def go_on(self) -> None:
        """What was held comes through."""
        self._flowing.set()

    async def start(self) -> None:
        """Listens, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuses connections, and breaks those there are."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        back, there = await asyncio.open_connection("127.0.0.1", self.target)
        try:
            await asyncio.gather(self._pump(reader, there, count=True), self._pump(back, writer, count=False))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()
            there.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: bool) -> None:
        while piece := await reader.read(_PIECE):
            if count:
                self.taken += len(piece)
                if 0 < self._hang_at <= self.taken:
                    self._hang_at = 0
                    self.hang()
            await self._flowing.wait()
            if self.bytes_per_second:
                await asyncio.sleep(len(piece) / self.bytes_per_second)
            writer.write(piece)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def proxied(target: int) -> AsyncIterator[Proxy]:
    """A proxy that runs inside the block."""
    proxy = Proxy(target)
    await proxy.start()
    try:
        yield proxy
    finally:
        proxy.go_on()
        await proxy.stop()
