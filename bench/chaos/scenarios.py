"""The scenarios: each mistreats the service for some seconds, and lets visitors judge what it answers."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from bench.chaos.visitors import Visitors
from bench.chaos.wire import drip
from bench.redis_server import RedisServer

Site = Literal["plain", "full disk", "redis"]
"""Where a scenario runs; a service each, with defaults, its logs on a full disk, or its results in a real Redis."""


@dataclass(frozen=True, slots=True)
class Play:
    """What a scenario is given: its clients, its time, how many clients a load has, and the Redis of its site."""

    visitors: Visitors
    seconds: float
    clients: int
    redis: RedisServer | None = None


async def leaving(play: Play) -> None:
    """1,000 clients, 50 at a time, hang up at once, in the queue or in the middle of their tiles."""
    visitors = play.visitors
    end = time.monotonic() + max(15.0, play.seconds)
    numbers = iter(range(1000))

    async def goers() -> None:
        for _ in numbers:
            if time.monotonic() > end:
                return
            await visitors.go(visitors.random.choice((0.0, 0.005, 0.02, 0.1, 0.3)))

    await asyncio.gather(*(goers() for _ in range(50)))
    await visitors.ask()


async def slow(play: Play) -> None:
    """200 clients upload one byte a second while one other is served."""
    visitors, end = play.visitors, time.monotonic() + play.seconds
    port = visitors.service.port
    drips = [asyncio.create_task(drip(port, 100_000, end, visitors.client())) for _ in range(200)]
    while time.monotonic() < end:
        await visitors.ask(client=1)
    ends = Counter(await asyncio.gather(*drips))
    for status in ends:
        visitors.expect(status in (None, 408), f"{status} to a slow upload")


async def burst(play: Play) -> None:
    """500 clients at once, with the smallest picture; bounded by their number, not by the time."""
    await asyncio.gather(*(play.visitors.ask(which=0) for _ in range(500)))


async def die(play: Play) -> None:
    """Again and again the next batch kills its worker's thread."""
    before = await play.visitors.service.restarts()
    await _again_and_again(play, "die")
    await _replaced(play, before)


async def hang(play: Play) -> None:
    """Again and again the next batch does not end; the worker is replaced, and its thread is left to itself."""
    before = await play.visitors.service.restarts()
    await _again_and_again(play, "hang")
    await _replaced(play, before)


async def fail(play: Play) -> None:
    """Again and again the next batch fails."""
    await _again_and_again(play, "fail")


async def memory(play: Play) -> None:
    """Again and again there is no memory for the next batch."""
    before = play.visitors.service.logged("halving the batch limit")
    await _again_and_again(play, "memory")
    play.visitors.expect(play.visitors.service.logged("halving the batch limit") > before, "no batch was halved")


async def mixed(play: Play) -> None:
    """A load of which 10% is garbage and 5% leaves half-way."""
    visitors, end = play.visitors, time.monotonic() + play.seconds

    async def client() -> None:
        while time.monotonic() < end:
            dice = visitors.random.random()
            if dice < 0.10:
                await visitors.ask_garbage()
            elif dice < 0.15:
                await visitors.go(0.02)
            else:
                await visitors.ask()

    await asyncio.gather(*(client() for _ in range(play.clients)))


async def redis(play: Play) -> None:
    """Redis is stopped, and started again, under load."""
    visitors, server = play.visitors, play.redis
    if server is None:
        raise ValueError("this scenario needs a site with a Redis")

    async def trouble() -> None:
        kept = await _stored(visitors)
        await asyncio.sleep(play.seconds / 3)
        await asyncio.to_thread(server.stop)
        made = await visitors.ask(which=0)
        visitors.expect(made is not None and "x-upscale-id" not in made.headers, "a result kept without Redis")
        gone = await visitors.fetch(kept)
        visitors.expect(gone.status == 503 and "retry-after" in gone.headers, f"{gone.status} to GET without Redis")
        visitors.expect(await _becomes(visitors, "degraded"), "readiness without Redis is not degraded")
        await asyncio.sleep(play.seconds / 3)
        await asyncio.to_thread(server.start)
        visitors.expect(await _becomes(visitors, "ready"), "not ready when Redis is back")
        await _stored(visitors)

    end = time.monotonic() + play.seconds
    await asyncio.gather(trouble(), *(visitors.keep_asking(end) for _ in range(play.clients)))


async def _becomes(visitors: Visitors, status: str) -> bool:
    """Whether readiness says so within ten seconds; the service looks after Redis once a second."""
    end = time.monotonic() + 10
    while await visitors.readiness() != (200, status):
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.1)
    return True


async def _stored(visitors: Visitors) -> str:
    """The id of a result that was made, kept and fetched again, as it must be while Redis is there."""
    made = await visitors.ask(which=0)
    result_id = made.headers.get("x-upscale-id", "") if made is not None else ""
    got = await visitors.fetch(result_id or "A" * 32)
    visitors.expect(got.status == 200 and got.digest == visitors.right[0], f"{got.status} to GET with Redis")
    visitors.expect(await visitors.readiness() == (200, "ready"), "not ready with Redis")
    return result_id


async def _replaced(play: Play, before: float) -> None:
    """A worker is replaced a moment after its tiles went to another one, who may have answered already."""
    end = time.monotonic() + 10
    while await play.visitors.service.restarts() <= before:
        if time.monotonic() > end:
            play.visitors.expect(False, "no worker was replaced")
            return
        await asyncio.sleep(0.2)


async def _again_and_again(play: Play, fault: str) -> None:
    """A fault each time that all who met the one before have been answered: two on one tile would be the tile's."""
    visitors, end = play.visitors, time.monotonic() + play.seconds
    over = asyncio.Event()

    async def client() -> None:
        while not over.is_set():
            await visitors.ask()

    async def trouble() -> None:
        while not over.is_set():
            await visitors.service.suffer(fault)
            await visitors.answered()
            if time.monotonic() > end:
                over.set()

    await asyncio.gather(trouble(), *(client() for _ in range(play.clients)))


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario's part of the time and the site that it runs on."""

    run: Callable[[Play], Awaitable[None]]
    share: float
    site: Site = "plain"


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
