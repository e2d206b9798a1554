"""Clients of the service, whose answers are compared with those of the idle service."""

import asyncio
import json
import random
import time

from bench.chaos.finding import Finding
from bench.chaos.pictures import GARBAGE_KINDS, garbage, pictures
from bench.chaos.server import ServiceProcess
from bench.chaos.wire import Reply, exchange, leave


class Clients:
    """Sends pictures and garbage to one running service, and notes in `finding` what it promised and did not keep."""

    def __init__(self, service: ServiceProcess, seed: int = 1) -> None:
        """`service` answers already; `finding` is replaced before each scenario."""
        self.service = service
        self.finding = Finding("")
        self.random = random.Random(seed)
        self.pictures = pictures()
        self.right: list[str] = []
        self._clients = 0
        self._under_way: set[asyncio.Future[Reply]] = set()

    def client(self) -> int:
        """The number of a client that has not been there before."""
        self._clients += 1
        return self._clients

    def expect(self, kept: bool, broken: str) -> None:
        """Notes a broken promise unless it was kept."""
        if not kept:
            self.finding.broken.append(broken)

    async def learn(self) -> None:
        """The right answers, from a service that does nothing else; three times, to be sure that they are one."""
        for picture in self.pictures:
            replies = [await exchange(self.service.port, "POST", "/upscale?scale=4", picture) for _ in range(3)]
            if {reply.status for reply in replies} != {200} or len({reply.digest for reply in replies}) != 1:
                raise SystemExit(f"the unloaded service does not give one answer: {[r.status for r in replies]}")
            self.right.append(replies[0].digest)

    async def ask(self, client: int | None = None, which: int | None = None) -> Reply | None:
        """Posts one of the pictures, or the one that is named; the answer, if there was one."""
        which = self.random.randrange(len(self.pictures)) if which is None else which
        return await self._judged(self.pictures[which], self.right[which], client or self.client())

    async def ask_garbage(self) -> None:
        """Posts what is no picture; anything but 4xx breaks a promise."""
        data = garbage(self.random.randrange(GARBAGE_KINDS), self.random.choice(self.pictures))
        await self._judged(data, None, self.client())

    async def go(self, after: float) -> None:
        """Posts a picture and hangs up `after` seconds later; with 0, in the middle of the upload."""
        await leave(self.service.port, self.random.choice(self.pictures), after, self.client())
        self.finding.statuses[0] += 1

    async def keep_asking(self, end: float) -> None:
        """One client after the other, until time.monotonic() is `end`."""
        while time.monotonic() < end:
            await self.ask()

    async def answered(self) -> None:
        """Waits until whoever waits for an answer now has one."""
        if self._under_way:
            await asyncio.wait(set(self._under_way))

    async def fetch(self, result_id: str) -> Reply:
        """GET of a result's ×4 picture."""
        return await exchange(self.service.port, "GET", f"/upscale?level=4&id={result_id}")

    async def readiness(self) -> tuple[int, str]:
        """What /readyz says."""
        reply = await exchange(self.service.port, "GET", "/readyz")
        return reply.status, str(json.loads(reply.body)["status"])

    async def _judged(self, data: bytes, right: str | None, client: int) -> Reply | None:
        answer = asyncio.ensure_future(exchange(self.service.port, "POST", "/upscale?scale=4", data, client))
        self._under_way.add(answer)
        answer.add_done_callback(self._under_way.discard)
        try:
            reply = await answer
        except (OSError, EOFError, TimeoutError) as error:
            self.finding.broken.append(f"no answer: {error!r}")
            return None
        self.finding.statuses[reply.status] += 1
        if reply.status == 503:
            self.expect("retry-after" in reply.headers, "503 without Retry-After")
        elif reply.status >= 500 or (right is None) != (400 <= reply.status < 500):
            self.finding.broken.append(f"{reply.status}: {reply.body[:200]!r}")
        elif right is not None:
            self.finding.times.append(reply.seconds)
            self.expect(reply.digest == right, "other bytes than unloaded")
        return reply
