"""The scenarios: each mistreats the service for some seconds, and lets clients judge what it answers."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from bench.chaos.clients import Clients
from bench.chaos.wire import drip
from bench.redis_server import RedisServer

Setup = Literal["plain", "full disk", "redis"]
"""Where a scenario runs; a service each, with defaults, its logs on a full disk, or its results in a real Redis."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a scenario is given: its clients, its time, how many clients a load has, and the Redis of its setup."""

    clients: Clients
    seconds: float
    at_once: int
    redis: RedisServer | None = None


async def leaving(context: Context) -> None:
    """1,000 clients, 50 at a time, hang up at once, in the queue or in the middle of their tiles."""
    clients = context.clients
    end = time.monotonic() + max(15.0, context.seconds)
    numbers = iter(range(1000))

    async def leaver() -> None:
        for _ in numbers:
            if time.monotonic() > end:
                return
            await clients.go(clients.random.choice((0.0, 0.005, 0.02, 0.1, 0.3)))

    await asyncio.gather(*(leaver() for _ in range(50)))
    await clients.ask()


async def slow(context: Context) -> None:
    """200 clients upload one byte a second while one other is served."""
    clients, end = context.clients, time.monotonic() + context.seconds
    port = clients.service.port
    drips = [asyncio.create_task(drip(port, 100_000, end, clients.client())) for _ in range(200)]
    while time.monotonic() < end:
        await clients.ask(client=1)
    ends = Counter(await asyncio.gather(*drips))
    for status in ends:
        clients.expect(status in (None, 408), f"{status} to a slow upload")


async def burst(context: Context) -> None:
    """500 clients at once, with the smallest picture; bounded by their number, not by the time."""
    await asyncio.gather(*(context.clients.ask(which=0) for _ in range(500)))


async def die(context: Context) -> None:
    """Again and again the next batch kills its worker's thread."""
    before = await context.clients.service.restarts()
    await _again_and_again(context, "die")
    await _replaced(context, before)


async def hang(context: Context) -> None:
    """Again and again the next batch does not end; the worker is replaced, and its thread is left to itself."""
    before = await context.clients.service.restarts()
    await _again_and_again(context, "hang")
    await _replaced(context, before)


async def fail(context: Context) -> None:
    """Again and again the next batch fails."""
    await _again_and_again(context, "fail")


async def memory(context: Context) -> None:
    """Again and again there is no memory for the next batch."""
    before = context.clients.service.logged("halving the batch limit")
    await _again_and_again(context, "memory")
    context.clients.expect(context.clients.service.logged("halving the batch limit") > before, "no batch was halved")


async def mixed(context: Context) -> None:
    """A load of which 10% is garbage and 5% leaves half-way."""
    clients, end = context.clients, time.monotonic() + context.seconds

    async def client() -> None:
        while time.monotonic() < end:
            dice = clients.random.random()
            if dice < 0.10:
                await clients.ask_garbage()
            elif dice < 0.15:
                await clients.go(0.02)
            else:
                await clients.ask()

    await asyncio.gather(*(client() for _ in range(context.at_once)))


async def redis(context: Context) -> None:
    """Redis is stopped, and started again, under load."""
    clients, server = context.clients, context.redis
    if server is None:
        raise ValueError("this scenario needs a setup with a Redis")

    async def faults() -> None:
        kept = await _stored(clients)
        await asyncio.sleep(context.seconds / 3)
        await asyncio.to_thread(server.stop)
        made = await clients.ask(which=0)
        clients.expect(made is not None and "x-upscale-id" not in made.headers, "a result kept without Redis")
        gone = await clients.fetch(kept)
        clients.expect(gone.status == 503 and "retry-after" in gone.headers, f"{gone.status} to GET without Redis")
        clients.expect(await _becomes(clients, "degraded"), "readiness without Redis is not degraded")
        await asyncio.sleep(context.seconds / 3)
        await asyncio.to_thread(server.start)
        clients.expect(await _becomes(clients, "ready"), "not ready when Redis is back")
        await _stored(clients)

    end = time.monotonic() + context.seconds
    await asyncio.gather(faults(), *(clients.keep_asking(end) for _ in range(context.at_once)))


async def _becomes(clients: Clients, status: str) -> bool:
    """Whether readiness says so within ten seconds; the service looks after Redis once a second."""
    end = time.monotonic() + 10
    while await clients.readiness() != (200, status):
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.1)
    return True


async def _stored(clients: Clients) -> str:
    """The id of a result that was made, kept and fetched again, as it must be while Redis is there."""
    made = await clients.ask(which=0)
    result_id = made.headers.get("x-upscale-id", "") if made is not None else ""
    got = await clients.fetch(result_id or "A" * 32)
    clients.expect(got.status == 200 and got.digest == clients.right[0], f"{got.status} to GET with Redis")
    clients.expect(await clients.readiness() == (200, "ready"), "not ready with Redis")
    return result_id


async def _replaced(context: Context, before: float) -> None:
    """A worker is replaced a moment after its tiles went to another one, who may have answered already."""
    end = time.monotonic() + 10
    while await context.clients.service.restarts() <= before:
        if time.monotonic() > end:
            context.clients.expect(False, "no worker was replaced")
            return
        await asyncio.sleep(0.2)


async def _again_and_again(context: Context, fault: str) -> None:
    """A fault each time that all who met the one before have been answered: two on one tile would be the tile's."""
    clients, end = context.clients, time.monotonic() + context.seconds
    over = asyncio.Event()

    async def client() -> None:
        while not over.is_set():
            await clients.ask()

    async def faults() -> None:
        while not over.is_set():
            await clients.service.inject(fault)
            await clients.answered()
            if time.monotonic() > end:
                over.set()

    await asyncio.gather(faults(), *(client() for _ in range(context.at_once)))


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario's part of the time and the setup that it runs on."""

    run: Callable[[Context], Awaitable[None]]
    share: float
    setup: Setup = "plain"


SCENARIOS = {
    "leaving": Scenario(leaving, 0.08),
    "slow": Scenario(slow, 0.12),
    "burst": Scenario(burst, 0.0),
    "die": Scenario(die, 0.15),
    "hang": Scenario(hang, 0.15),
    "fail": Scenario(fail, 0.08),
    "memory": Scenario(memory, 0.08),
    "mixed": Scenario(mixed, 0.18),
    "disk": Scenario(mixed, 0.06, "full disk"),
    "redis": Scenario(redis, 0.10, "redis"),
}
