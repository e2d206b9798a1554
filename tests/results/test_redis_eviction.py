"""A Redis that evicts keys by itself, or lets some expire before others: the account of results begins anew."""

import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from app.results import StoredPicture
from app.results.redis import RedisStore
from app.results.redis_link import KEYS
from bench.redis_server import RedisServer
from tests.service_process import free_port

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("pictures_alone")]

PREFIX = f"{KEYS}result:"
ACCOUNTS = ("ages", "sizes", "holders", "shares")
FIRST = {4: StoredPicture.of(b"x" * 300, "image/png")}
NEXT = {4: StoredPicture.of(b"x" * 450, "image/png")}


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[Redis]:
    """A Redis of its own, as a script that never ends stops it for good."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    server = RedisServer(free_port(), tmp_path)
    server.start()
    async with Redis.from_url(server.url) as client:
        yield client
    os.kill(server.process, signal.SIGKILL)
    server.stop()


def store_on(redis: Redis, ttl_seconds: int = 60) -> RedisStore:
    """A store with room for three of FIRST, or two of NEXT."""
    kept = redis.connection_pool.connection_kwargs
    return RedisStore(f"redis://127.0.0.1:{kept['port']}/0", 1000, ttl_seconds)


async def refill(redis: Redis, store: RedisStore) -> None:
    """Puts results until all earlier ones are evicted, and checks that the account is right again."""
    for name in "defg":
        assert await store.put(name, "", NEXT, "client")
    assert [await store.get(name, "", 4) is not None for name in "defg"] == [False, False, True, True]
    assert await store.available()
    assert store.size_bytes == 900
    shares: Any = await redis.zrange(f"{PREFIX}shares", 0, -1, withscores=True)
    assert [share for _, share in shares] == [900.0]
    assert await redis.hlen(f"{PREFIX}holders") == await redis.zcard(f"{PREFIX}ages") == 2


@pytest.mark.parametrize("evicted", [*((name,) for name in ACCOUNTS), ACCOUNTS])
async def test_an_account_that_redis_has_evicted_in_part_begins_anew(redis: Redis, evicted: tuple[str, ...]) -> None:
    """Without `holders`, the script would find the same oldest result again and again, and never end."""
    store = store_on(redis)
    for name in "abc":
        assert await store.put(name, "", FIRST, "client")
    await redis.delete(*(PREFIX + name for name in evicted))
    await refill(redis, store)
    await store.close()


async def test_the_account_is_kept_as_long_as_the_results_of_the_process_with_the_longest_ttl(redis: Redis) -> None:
    """As after LAPSRN_RESULT_TTL_SECONDS was lowered: the results of before are still there."""
    long, short = store_on(redis, 3600), store_on(redis, 60)
    await long.put("a", "", FIRST, "client")
    await short.put("b", "", FIRST, "another")
    assert min([await redis.ttl(PREFIX + name) for name in ACCOUNTS]) > 3600
    await long.close()
    await short.close()
