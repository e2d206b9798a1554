"""Stores of finished pictures: the same contract for memory and for a real Redis."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from app.errors import QueueFull, StoreUnavailable
from app.results import MemoryStore, ResultStore, StoredPicture, new_id, size_of, storage_key
from app.results.redis import RedisStore
from app.results.redis_link import KEYS
from bench.redis_server import RedisServer

BIG = StoredPicture.of(b"x4" * 100, "image/png")
SMALL = StoredPicture.of(b"x2" * 25, "image/webp")
LEVELS = {4: BIG, 2: SMALL}
pytestmark = pytest.mark.usefixtures("pictures_alone")


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.server)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[ResultStore]:
    kept: ResultStore = MemoryStore(10_000, 60.0)
    if request.param == "redis":
        kept = RedisStore(request.getfixturevalue("redis_server").url, 10_000, 60, prefix=f"lapsrn:{new_id()}:")
    yield kept
    await kept.close()


async def test_stored_levels_can_be_fetched(store: ResultStore) -> None:
    result_id = new_id()
    assert await store.put(result_id, "ann", LEVELS)
    assert await store.get(result_id, "ann", 4) == BIG
    assert await store.get(result_id, "ann", 2) == SMALL
    assert await store.get(result_id, "ann", 8) is None


async def test_the_size_is_announced_before_reading_and_reading_can_be_refused(store: ResultStore) -> None:
    """Only Redis reads; what is in memory is there already."""
    sizes: list[int] = []

    def refuse(size: int) -> None:
        raise QueueFull("no room", 1.0)

    await store.put("a", "", LEVELS)
    assert await store.get("a", "", 2, sizes.append) == SMALL
    if isinstance(store, RedisStore):
        assert sizes == [len(SMALL.body)]
        with pytest.raises(QueueFull):
            await store.get("a", "", 2, refuse)
    else:
        assert sizes == []
        assert await store.get("a", "", 2, refuse) == SMALL


async def test_results_of_other_owners_are_unknown(store: ResultStore) -> None:
    result_id = new_id()
    await store.put(result_id, "ann", LEVELS)
    assert await store.get(result_id, "bob", 4) is None
    assert await store.get(result_id, "", 4) is None
    assert not await store.delete(result_id, "bob")
    assert await store.get(result_id, "ann", 4) == BIG


async def test_a_deleted_result_is_gone(store: ResultStore) -> None:
    result_id = new_id()
    await store.put(result_id, "", LEVELS)
    assert await store.delete(result_id, "")
    assert not await store.delete(result_id, "")
    assert await store.get(result_id, "", 4) is None


async def test_putting_again_replaces_every_level(store: ResultStore) -> None:
    result_id = new_id()
    await store.put(result_id, "", LEVELS)
    await store.put(result_id, "", {2: SMALL})
    assert await store.get(result_id, "", 4) is None
    assert await store.get(result_id, "", 2) == SMALL


async def test_a_working_store_is_available(store: ResultStore) -> None:
    assert await store.available()


async def kept(store: ResultStore, *names: str) -> list[str]:
    """Those of these results that are there."""
    return [name for name in names if await store.get(name, "", 4) is not None]


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.server)])
async def small(request: pytest.FixtureRequest) -> AsyncIterator[ResultStore]:
    """Has room for 1,000 bytes, which is five times BIG or four times LEVELS."""
    store: ResultStore = MemoryStore(1000, 60.0)
    if request.param == "redis":
        store = RedisStore(request.getfixturevalue("redis_server").url, 1000, 60, prefix=f"lapsrn:{new_id()}:")
    yield store
    await store.close()


async def test_the_oldest_result_of_the_largest_user_is_evicted_first(small: ResultStore) -> None:
    for name in ("b1", "a1", "a2", "a3", "a4", "a5"):
        assert await small.put(name, "", {4: BIG}, client=name[0])
    assert await kept(small, "b1", "a1", "a2", "a3", "a4", "a5") == ["b1", "a2", "a3", "a4", "a5"]
    for name in ("b2", "c1"):
        assert await small.put(name, "", {4: BIG}, client=name[0])
    assert await kept(small, "b1", "b2", "c1", "a2", "a3", "a4", "a5") == ["b1", "b2", "c1", "a4", "a5"]


async def test_the_result_of_a_new_client_is_kept_however_many_others_have_results(small: ResultStore) -> None:
    half = StoredPicture.of(b"h" * 500, "image/png")
    for name in "abcde":
        assert await small.put(name, "", {4: BIG}, client=name)
    assert await small.put("f", "", {4: half}, client="f")
    assert len(await kept(small, *"abcdef")) == 3
    assert await kept(small, "f") == ["f"]


async def test_a_result_of_more_than_half_the_store_evicts_no_results_of_other_clients(small: ResultStore) -> None:
    large = StoredPicture.of(b"l" * 800, "image/png")
    for name in ("b1", "a1"):
        await small.put(name, "", {4: BIG}, client=name[0])
    assert await small.put("a2", "", {4: large}, client="a"), "it fits beside b's if a's own goes"
    assert await kept(small, "b1", "a1", "a2") == ["b1", "a2"]
    assert not await small.put("c1", "", {4: large}, client="c")
    assert await kept(small, "b1", "a2", "c1") == ["b1", "a2"]
    assert await small.delete("b1", "")
    assert await small.put("a3", "", {4: StoredPicture.of(b"l" * 1000, "image/png")}, client="a"), "alone: everything"


async def test_clients_are_forgotten_with_their_results(small: ResultStore) -> None:
    for round_ in range(3):
        for name in "abcd":
            assert await small.put(f"{name}{round_}", "", {4: BIG}, client=name)
        for name in "abcd":
            assert await small.delete(f"{name}{round_}", "")
    assert await small.available()
    assert small.size_bytes == 0
    for number in range(6):
        assert await small.put(f"x{number}", "", {4: BIG}, client="x")
    assert await kept(small, *(f"x{number}" for number in range(6))) == ["x1", "x2", "x3", "x4", "x5"]


async def test_small_results_are_counted_with_their_overhead(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.results.base.RECORD_BYTES", 1024)
    for number in range(12):
        assert await store.put(f"a{number}", "", {4: SMALL})
    assert len(await kept(store, *(f"a{number}" for number in range(12)))) == 10_000 // (1024 + len(SMALL.body))


async def test_memory_counts_bytes() -> None:
    store = MemoryStore(1000, 60.0)
    await store.put("a", "", LEVELS)
    assert store.size_bytes == 250
    await store.put("a", "", {2: SMALL})
    assert store.size_bytes == 50
    await store.delete("a", "")
    assert store.size_bytes == 0


async def test_memory_forgets_the_least_recently_used() -> None:
    store = MemoryStore(600, 60.0)
    await store.put("a", "", LEVELS)
    await store.put("b", "", LEVELS)
    await store.get("a", "", 2)
    await store.put("c", "", LEVELS)
    assert [await store.get(name, "", 4) is not None for name in "abc"] == [True, False, True]
    assert store.size_bytes == 500


async def test_memory_refuses_a_result_above_the_cap_and_keeps_the_others() -> None:
    store = MemoryStore(300, 60.0)
    await store.put("a", "", LEVELS)
    assert not await store.put("b", "", {4: BIG, 2: BIG})
    assert await store.get("a", "", 4) == BIG


async def test_memory_forgets_results_after_their_time_which_reading_does_not_extend() -> None:
    now = 0.0
    store = MemoryStore(1000, 10.0, clock=lambda: now)
    await store.put("a", "", LEVELS)
    now = 9.0
    assert await store.get("a", "", 4) == BIG
    now = 10.0
    assert await store.get("a", "", 4) is None
    assert store.size_bytes == 0


async def test_memory_deletes_and_counts_nothing_that_has_expired() -> None:
    now = 0.0
    store = MemoryStore(10_000, 10.0, clock=lambda: now)
    await store.put("a", "", LEVELS)
    now = 10.0
    assert store.size_bytes == 0
    await store.put("b", "", LEVELS)
    now = 20.0
    assert not await store.delete("b", "")


async def test_memory_makes_room_of_what_has_expired_before_anything_else() -> None:
    now = 0.0
    store = MemoryStore(3 * size_of(LEVELS), 10.0, clock=lambda: now)
    await store.put("old", "", LEVELS, "small user")
    now = 5.0
    for name in ("first", "second"):
        await store.put(name, "", LEVELS, "large user")
    now = 10.0
    await store.put("new", "", LEVELS, "large user")
    assert await store.get("first", "", 4) == BIG


async def test_memory_forgets_everything_when_it_is_closed() -> None:
    store = MemoryStore(10_000, 10.0)
    await store.put("a", "", LEVELS)
    await store.close()
    assert await store.get("a", "", 4) is None
    assert store.size_bytes == 0


async def let_pass(server: RedisServer, seconds: int) -> None:
    """Make everything in a Redis as much older: what expires, and the scores of "ages", which are times of expiry."""
    async with Redis.from_url(server.url) as redis:
        async for key in redis.scan_iter():
            await redis.pexpire(key, await redis.pttl(key) - 1000 * seconds)
        async for member, _ in redis.zscan_iter(f"{KEYS}result:ages"):
            await redis.zincrby(f"{KEYS}result:ages", -seconds, member)


@pytest.mark.server
async def test_redis_forgets_results_after_their_time(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.url, 10_000, 60)
    await store.put("a", "", LEVELS)
    await let_pass(redis_server, 30)
    assert await store.get("a", "", 4) == BIG
    await let_pass(redis_server, 30)
    assert await store.get("a", "", 4) is None
    await store.close()


@pytest.mark.server
async def test_redis_stores_hashed_ids_and_every_key_expires(redis_server: RedisServer) -> None:
    store, result_id = RedisStore(redis_server.url, 10_000, 60), new_id()
    await store.put(result_id, "ann", LEVELS)
    key = f"{KEYS}result:{storage_key(result_id, 'ann')}"
    async with Redis.from_url(redis_server.url) as redis:
        keys = [found.decode() async for found in redis.scan_iter()]
        seconds = await redis.ttl(key)
    await store.close()
    assert key in keys
    assert all(result_id not in found for found in keys)
    assert 0 < seconds <= 60


@pytest.fixture
async def clean(redis_server: RedisServer) -> RedisServer:
    """A Redis with nothing in it."""
    async with Redis.from_url(redis_server.url) as redis:
        await redis.flushall()
    return redis_server


async def held(store: RedisStore) -> int:
    """Picture bytes that Redis currently counts."""
    assert await store.available()
    return store.size_bytes


@pytest.mark.server
async def test_redis_counts_bytes(clean: RedisServer) -> None:
    store = RedisStore(clean.url, 1000, 60)
    await store.put("a", "", LEVELS)
    assert await held(store) == 250
    await store.put("a", "", {2: SMALL})
    assert await held(store) == 50
    await store.delete("a", "")
    assert await held(store) == 0
    await store.close()


@pytest.mark.server
async def test_redis_forgets_the_oldest_result_at_the_cap_shared_by_all_processes(clean: RedisServer) -> None:
    first, second = RedisStore(clean.url, 600, 60), RedisStore(clean.url, 600, 60)
    for store, name in ((first, "a"), (second, "b"), (first, "c")):
        assert await store.put(name, "", LEVELS)
    assert [await second.get(name, "", 4) is not None for name in "abc"] == [False, True, True]
    assert await held(second) == 500
    await first.close()
    await second.close()


@pytest.mark.server
async def test_redis_refuses_a_result_above_the_cap_and_keeps_the_others(clean: RedisServer) -> None:
    store = RedisStore(clean.url, 300, 60)
    await store.put("a", "", LEVELS)
    assert not await store.put("b", "", {4: BIG, 2: BIG})
    assert await store.get("a", "", 4) == BIG
    await store.close()


@pytest.mark.server
async def test_redis_does_not_count_expired_bytes(clean: RedisServer) -> None:
    store = RedisStore(clean.url, 1000, 60)
    await store.put("a", "", LEVELS)
    await let_pass(clean, 59)
    assert await held(store) == 250
    await let_pass(clean, 1)
    assert await held(store) == 0
    await store.close()


@pytest.mark.server
async def test_two_processes_share_results_in_redis(redis_server: RedisServer) -> None:
    first, second = RedisStore(redis_server.url, 10_000, 60), RedisStore(redis_server.url, 10_000, 60)
    await first.put("shared", "", LEVELS)
    assert await second.get("shared", "", 2) == SMALL
    await first.close()
    await second.close()


@pytest.mark.server
async def test_redis_becomes_unavailable_and_available_again(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.url, 10_000, 60)
    assert await store.available()
    redis_server.stop()
    assert not await store.available()
    for call in (store.put("a", "", LEVELS), store.get("a", "", 4), store.delete("a", "")):
        with pytest.raises(StoreUnavailable):
            await call
    redis_server.start()
    assert await store.available()
    await store.put("a", "", LEVELS)
    assert await store.get("a", "", 4) == BIG
    await store.close()


def test_ids_are_long_and_random() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert {len(result_id) for result_id in ids} == {32}


def test_storage_keys_keep_owner_and_id_apart() -> None:
    assert storage_key("c", "ab") != storage_key("bc", "a")


def test_etags_differ_for_different_bytes() -> None:
    assert StoredPicture.of(b"a", "image/png").etag != StoredPicture.of(b"b", "image/png").etag
    assert StoredPicture.of(b"a", "image/png").etag == StoredPicture.of(b"a", "image/png").etag
