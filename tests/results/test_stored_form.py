"""Two versions that share a Redis, as in a rolling upgrade, read what the other one wrote, or have other keys."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from app.results.redis import RedisStore
from app.results.redis_link import FORM
from bench.redis_server import RedisServer
from tests.results import stored_form
from tests.results.stored_form import ASKED, CALLER, ID, JOB, KEY, LEVELS, OWNER, Written

pytestmark = pytest.mark.server
RECORDED, WRITTEN = stored_form.recorded()


@pytest.fixture
async def url(redis_server: RedisServer) -> AsyncIterator[str]:
    """An empty Redis, also afterwards."""
    async with Redis.from_url(redis_server.url) as redis:
        await redis.flushall()
        yield redis_server.url
        await redis.flushall()


async def test_the_stored_form_equals_the_recorded_one(url: str) -> None:
    now = await stored_form.write(url)
    assert (RECORDED, WRITTEN[-1]) == (FORM, now), (
        "What is written to Redis has changed. If the last version cannot read it, or this one not what that wrote, "
        "raise FORM in app/results/redis_link.py and say so in CHANGELOG.md. Then: python -m tests.results.stored_form"
    )


@pytest.mark.parametrize("written", WRITTEN)
async def test_data_of_earlier_versions_with_this_form_can_be_read(url: str, written: Written) -> None:
    await stored_form.restore(url, written)
    store = RedisStore(url, 1 << 20, 600)
    assert {level: await store.get(ID, OWNER, level) for level in LEVELS} == LEVELS
    assert (await stored_form.directory(store).find(ID, OWNER)).snapshot == JOB
    again = await stored_form.repeats(store).find(KEY, CALLER, ASKED, "another job")
    assert again is not None
    assert again.snapshot == JOB
    assert await store.delete(ID, OWNER)
    assert await store.available()
    assert store.size_bytes == 0
    await store.close()
