"""A Redis that hangs, is slow, has no memory, or is emptied: no request waits in vain, and the state is reported."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import NoPermissionError, OutOfMemoryError

from app.errors import StoreUnavailable
from app.results import Shown, StoredPicture, storage_key
from app.results.redis import _TRANSFERS, CHUNK_BYTES, RedisStore
from app.results.redis_board import RedisBoard
from app.results.redis_link import _CALLS_AT_ONCE, KEYS, RedisLink
from bench.redis_server import RedisServer
from tests.conftest import until
from tests.service_process import free_port
from tests.tcp_proxy import Proxy, proxied

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("pictures_alone")]

SMALL = {2: StoredPicture.of(b"x2" * 25, "image/webp")}
LARGE = {4: StoredPicture.of(bytes(range(256)) * (24 * CHUNK_BYTES // 256) + b"end", "image/png")}
PREFIX = f"{KEYS}result:"


@pytest.fixture
async def clean(redis_server: RedisServer) -> AsyncIterator[RedisServer]:
    """A Redis with nothing in it, and with memory without a limit, also afterwards."""
    async with Redis.from_url(redis_server.url) as redis:
        await redis.flushall()
    yield redis_server
    async with Redis.from_url(redis_server.url) as redis:
        await redis.config_set("maxmemory", 0)


@pytest.fixture
async def proxy(clean: RedisServer) -> AsyncIterator[Proxy]:
    """A network to that Redis."""
    async with proxied(clean.port) as running:
        yield running


@pytest.fixture
async def store(proxy: Proxy) -> AsyncIterator[RedisStore]:
    """A store behind the proxy, whose commands may take two seconds."""
    made = RedisStore(proxy.url, 1 << 30, 60)
    yield made
    await made.close()


async def test_a_large_result_may_take_longer_than_the_timeout_of_a_command(proxy: Proxy, store: RedisStore) -> None:
    """Longer than a command may, each way: a limit on the whole picture would lose it."""
    proxy.bytes_per_second = 10 * CHUNK_BYTES
    assert await store.put("a", "", LARGE)
    assert await store.get("a", "", 4) == LARGE[4]
    assert store.state == "ok"


async def test_few_pictures_are_transferred_at_once(clean: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of many pictures that share a slow link would all take longer than a command may."""
    store, most, gate = RedisStore(clean.url, 1 << 30, 60), 0, asyncio.Event()
    under_way: set[object] = set()

    def counted(send: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def sent(*arguments: Any, **options: Any) -> Any:
            nonlocal most
            under_way.add(call := object())
            most = max(most, len(under_way))
            await gate.wait()
            under_way.remove(call)
            return await send(*arguments, **options)

        return sent

    monkeypatch.setattr(Pipeline, "execute", counted(Pipeline.execute))
    monkeypatch.setattr(Redis, "hget", counted(Redis.hget))
    names = [str(number) for number in range(20)]
    for calls in ([store.put(name, "", SMALL) for name in names], [store.get(name, "", 2) for name in names]):
        gate.clear()
        doing = asyncio.gather(*calls)
        await until(lambda: len(under_way) == _TRANSFERS)
        gate.set()
        assert await doing in ([True] * 20, [SMALL[2]] * 20)
    assert most == _TRANSFERS
    await store.close()


async def test_an_address_that_asks_for_text_gets_pictures(clean: RedisServer) -> None:
    store = RedisStore(f"{clean.url}?decode_responses=true", 1 << 30, 60)
    assert await store.available()
    assert await store.put("a", "", LARGE)
    assert await store.get("a", "", 4) == LARGE[4]
    await store.close()


async def test_redis_can_be_reached_by_a_unix_socket(clean: RedisServer) -> None:
    store = RedisStore(clean.socket_url, 1 << 20, 60)
    assert await store.available()
    assert await store.put("a", "", SMALL)
    assert await store.get("a", "", 2) == SMALL[2]
    await store.close()


async def test_scripts_that_redis_has_lost_are_sent_again(clean: RedisServer, store: RedisStore) -> None:
    assert await store.put("a", "", SMALL)
    async with Redis.from_url(clean.url) as redis:
        await redis.script_flush()
    assert await store.put("b", "", LARGE)
    assert await store.get("b", "", 4) == LARGE[4]


async def test_many_concurrent_fetches_do_not_run_out_of_connections(proxy: Proxy, store: RedisStore) -> None:
    """One client may have 128 fetches under way; they must not take the store away from the others."""
    assert await store.put("a", "", SMALL)
    proxy.hang()
    reading = [asyncio.create_task(store.get("a", "", 2)) for _ in range(150)]
    await asyncio.sleep(0)
    available = asyncio.create_task(store.available())
    await asyncio.sleep(0.05)
    proxy.go_on()
    assert await asyncio.gather(*reading) == [SMALL[2]] * len(reading)
    assert await available


async def test_a_thousand_jobs_do_not_take_a_thousand_connections(clean: RedisServer) -> None:
    """Many Redis servers allow a few hundred, for all replicas."""
    store = RedisStore(clean.url, 1 << 20, 60)
    board = store.board(60, 60)
    assert not any(await asyncio.gather(*(board.show(str(number), "", "{}") for number in range(1000))))
    pool = store._link.redis.connection_pool
    assert len(pool._available_connections) == _CALLS_AT_ONCE
    assert all([(await board.read(str(number), "")).leased for number in range(1000)])
    await store.close()


async def test_chunks_are_written_whole_or_not_at_all(proxy: Proxy, store: RedisStore) -> None:
    proxy.hang_after(2 * CHUNK_BYTES)
    putting = asyncio.create_task(store.put("a", "", LARGE))
    await until(lambda: proxy.hangs)
    await proxy.stop()
    proxy.go_on()
    with pytest.raises(StoreUnavailable):
        await putting
    await proxy.start()
    assert await store.available()
    assert await store.get("a", "", 4) is None
    assert await store.put("a", "", LARGE)
    assert await store.get("a", "", 4) == LARGE[4]


async def test_a_partly_written_result_takes_no_room(proxy: Proxy, store: RedisStore) -> None:
    proxy.hang_after(2 * CHUNK_BYTES)
    putting = asyncio.create_task(store.put("a", "", LARGE))
    await until(lambda: proxy.hangs)
    putting.cancel()
    proxy.go_on()
    with pytest.raises(asyncio.CancelledError):
        await putting
    await until(lambda: not store._tasks)
    assert await store.available()
    assert store.size_bytes == 0


async def test_a_result_that_is_evicted_while_it_is_written_leaves_nothing(clean: RedisServer, proxy: Proxy) -> None:
    room = len(LARGE[4].body)
    first, second = (RedisStore(url, room, 60) for url in (proxy.url, clean.url))
    proxy.hang_after(2 * CHUNK_BYTES)
    putting = asyncio.create_task(first.put("a", "", LARGE))
    await until(lambda: proxy.hangs)
    assert await second.put("b", "", LARGE)
    proxy.go_on()
    with pytest.raises(StoreUnavailable) as refused:  # not False, "more than may be kept": it may be put again
        await putting
    assert refused.value.full
    assert await second.get("b", "", 4) == LARGE[4]
    assert await second.available()
    assert second.size_bytes == room
    async with Redis.from_url(clean.url) as redis:
        assert len([key async for key in redis.scan_iter(f"{PREFIX}*")]) == 8  # "b", five accounts, two of the probe
    await first.close()
    await second.close()


async def test_a_redis_that_hangs_gets_no_further_commands(proxy: Proxy, store: RedisStore) -> None:
    assert await store.put("a", "", SMALL)
    proxy.hang()
    assert not await store.available()
    assert store.state == "unavailable"
    taken = proxy.taken
    for call in (store.put("a", "", SMALL), store.get("a", "", 2), store.delete("a", "")):
        with pytest.raises(StoreUnavailable):
            await call
    assert proxy.taken == taken
    proxy.go_on()
    assert await store.available()
    assert await store.get("a", "", 2) == SMALL[2]


async def test_commands_under_way_are_aborted_once_redis_is_found_unavailable(proxy: Proxy) -> None:
    link = RedisLink(proxy.url)
    inside = asyncio.Event()

    async def talk() -> None:
        async with link.talking():
            inside.set()
            await asyncio.Event().wait()

    talking = asyncio.create_task(talk())
    await inside.wait()
    await proxy.stop()
    await link.probe()
    with pytest.raises(StoreUnavailable, match="Ask again in a few seconds"):
        await talking
    await link.close()


async def test_a_probe_that_waits_behind_pictures_does_not_count_as_an_outage(proxy: Proxy) -> None:
    """On a slow link a picture's chunks may fill it; as long as they get through, Redis is there."""
    link = RedisLink(proxy.url, timeout_seconds=1.0)
    proxy.hang()
    probing = asyncio.create_task(link.probe())
    await until(lambda: proxy.taken)
    async with link.talking():
        pass
    await probing
    states = [link.state]
    await link.probe()
    assert [*states, link.state] == ["ok", "unavailable"]
    await link.close()


@pytest.mark.parametrize(
    ("said", "explained"),
    [
        ("MOVED 15225 192.0.2.1:6379", "Redis Cluster is not supported, use a single Redis: 15225 192.0.2.1:6379"),
        (
            "CLUSTERDOWN Hash slot not served",
            "Redis Cluster is not supported, use a single Redis: Hash slot not served",
        ),
        (
            "CROSSSLOT Keys in request don't hash to the same slot",
            "Redis Cluster is not supported, use a single Redis: Keys in request don't hash to the same slot",
        ),
        ("MASTERDOWN Link with MASTER is down", "Link with MASTER is down"),
        (
            "NOAUTH Authentication required.",
            "the password in LAPSRN_REDIS_URL, or its user, is wrong or missing: Authentication required.",
        ),
        ("READONLY You can't write against a read only replica.", "You can't write against a read only replica."),
    ],
    ids=lambda text: text.split()[0],
)
async def test_the_reason_says_what_to_do_about_a_refusal(said: str, explained: str) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            if line.startswith(b"*"):  # a command begins
                writer.write(f"-{said}\r\n".encode())
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    link = RedisLink(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}?protocol=2")
    async with server:
        await link.probe()
        await link.close()
    assert (link.state, link.reason) == ("unavailable", explained)


async def test_the_reason_names_the_password(clean: RedisServer) -> None:
    link = RedisLink(clean.url.replace("redis://", "redis://nobody:wrong@"))
    await link.probe()
    await link.close()
    assert link.reason.startswith("the password in LAPSRN_REDIS_URL, or its user, is wrong or missing: ")
    assert "nobody" not in link.reason


async def test_an_outage_is_logged_once_and_so_is_its_end(proxy: Proxy, store: RedisStore) -> None:
    with structlog.testing.capture_logs() as logs:
        await proxy.stop()
        for _ in range(3):
            assert not await store.available()
            with pytest.raises(StoreUnavailable):
                await store.get("a", "", 2)
        await proxy.start()
        for _ in range(3):
            assert await store.available()
    assert [entry["event"] for entry in logs] == [
        "the results store does not answer",
        "the results store answers again",
    ]


async def test_the_store_notices_the_end_of_an_outage_by_itself(
    proxy: Proxy, store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.results.redis.PROBE_SECONDS", 0.01)
    store.start()
    await proxy.stop()
    await until(lambda: store.state == "unavailable")
    await proxy.start()
    await until(lambda: store.state == "ok")


async def test_a_probe_that_misses_its_cancellation_still_ends(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancellation that comes just as a time limit runs out is taken for the time limit."""
    began, missed = asyncio.Event(), 0

    async def available() -> bool:
        nonlocal missed
        began.set()
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            missed += 1
        return True

    monkeypatch.setattr(store, "available", available)
    store.start()
    await began.wait()
    await asyncio.wait_for(store.close(), 60)
    assert missed == 1


async def test_a_redis_with_room_only_for_probes_is_full(
    clean: RedisServer, store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must not be "ok" while no picture can be kept."""
    async with Redis.from_url(clean.url) as redis:
        used = (await redis.info("memory"))["used_memory"]
        await redis.config_set("maxmemory", used + 8 * CHUNK_BYTES)
        with pytest.raises(StoreUnavailable):
            await store.put("a", "", LARGE)
        await until(lambda: not store._tasks)
        for _ in range(1000):  # it is freed in the background
            if (await redis.info("memory"))["used_memory"] < used + 4 * CHUNK_BYTES:
                break
            await asyncio.sleep(0.01)
    assert (await store.available(), store.state) == (False, "full")
    monkeypatch.setattr("app.results.redis_link._FULL_SECONDS", 0.0)
    assert (await store.available(), store.state) == (True, "ok")


async def test_a_redis_out_of_memory_is_full_and_its_results_can_still_be_fetched(
    clean: RedisServer, store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.results.redis_link._FULL_SECONDS", 0.0)
    assert await store.put("a", "", SMALL)
    async with Redis.from_url(clean.url) as redis:
        await redis.config_set("maxmemory", 1)
        with pytest.raises(StoreUnavailable) as refused:
            await store.put("b", "", SMALL)
        assert refused.value.full
        states = [await store.available(), store.state]
        assert await store.get("a", "", 2) == SMALL[2]
        await redis.config_set("maxmemory", 0)
    assert [*states, await store.available(), store.state] == [False, "full", True, "ok"]
    assert await store.put("b", "", SMALL)


async def test_expired_results_are_removed_even_if_redis_is_full(clean: RedisServer, store: RedisStore) -> None:
    assert await store.put("a", "", SMALL)
    async with Redis.from_url(clean.url) as redis:
        await redis.zadd(f"{PREFIX}ages", {PREFIX + storage_key("a", ""): 1.0})
        await redis.config_set("maxmemory", 1)
        assert not await store.available()
        assert store.size_bytes == 0
        assert await redis.zcard(f"{PREFIX}ages") == 0


async def test_a_redis_that_refuses_writes_is_unavailable(clean: RedisServer, store: RedisStore) -> None:
    async with Redis.from_url(clean.url) as redis:
        await redis.config_set("min-replicas-to-write", 1)
        assert not await store.available()
        assert store.state == "unavailable"
        await redis.config_set("min-replicas-to-write", 0)
    assert await store.available()


async def test_after_a_failover_the_new_primary_is_used(
    clean: RedisServer, proxy: Proxy, store: RedisStore, tmp_path: Path
) -> None:
    """The old one lives on as a replica, and keeps the connections that are open."""
    old = RedisServer(free_port(), tmp_path)
    old.start()
    new, proxy.target = proxy.target, old.port
    try:
        assert await store.available()
        proxy.target = new
        async with Redis.from_url(old.url) as redis:
            await redis.replicaof("127.0.0.1", str(free_port()))
        assert not await store.available()
        assert await store.available()
        assert await store.put("a", "", SMALL)
    finally:
        old.stop()


async def test_a_redis_with_foreign_data_is_unavailable_and_the_log_says_why(
    clean: RedisServer, store: RedisStore
) -> None:
    """It answers, and takes what the probe writes; but nothing could be kept."""
    async with Redis.from_url(clean.url) as redis:
        await redis.set(f"{PREFIX}ages", "somebody else's")
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                assert not await store.available()
            assert store.state == "unavailable"
        assert ["WRONGTYPE" in entry["reason"] for entry in logs] == [True]
        await redis.delete(f"{PREFIX}ages")
    assert await store.available()
    assert await store.put("a", "", SMALL)


@pytest.mark.parametrize("commands", ["time", "evalsha", "@scripting", "hset", "expire", "hmget", "hget", "mget"])
async def test_a_user_without_a_permission_is_reported_at_the_start(clean: RedisServer, commands: str) -> None:
    """Rather than noticed when results are not kept and jobs wait for them."""
    async with Redis.from_url(clean.url) as redis:
        tell: Any = redis.execute_command
        await tell("ACL", "SETUSER", "some", "reset", "on", ">pw", "~lapsrn:*", "+@all", f"-{commands}")
        store = RedisStore(clean.url.replace("//", "//some:pw@"), 1 << 20, 60)
        with structlog.testing.capture_logs() as logs:
            assert not await store.available()
        assert store.state == "unavailable"
        assert len(logs) == 1
        assert re.search("no permissions to run|can't run this command", logs[0]["reason"])
        await store.close()
        await tell("ACL", "DELUSER", "some")


async def test_a_refused_command_does_not_count_as_a_slow_link(clean: RedisServer) -> None:
    """Also while other calls succeed, such as those that only read."""
    now = iter(range(1000))
    link = RedisLink(clean.url, clock=lambda: float(next(now)))

    async def refused() -> None:
        async with link.talking():
            pass
        raise NoPermissionError("no permissions to run the 'evalsha' command")

    await link.probe(refused)
    assert link.state == "unavailable"
    await link.close()


@pytest.mark.parametrize(
    "answer", [b":abc\r\n", b"*-5\r\n", b"#t\r\n", 2000 * b"*1\r\n" + b":1\r\n", b"HTTP/1.1 400 Bad Request\r\n"]
)
async def test_a_server_that_is_not_redis_is_unavailable(answer: bytes) -> None:
    connections: list[Any] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.current_task())
        while await reader.read(1 << 16):
            writer.write(answer)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        store = RedisStore(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", 1000, 60, timeout_seconds=0.1)
        with pytest.raises(StoreUnavailable):
            await store.put("a", "", SMALL)
        with pytest.raises(StoreUnavailable):
            await store.get("a", "", 2)
        assert not await store.available()
        assert store.state == "unavailable"
        await store.close()
        await asyncio.gather(*connections, return_exceptions=True)  # reset connections, perhaps


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("2:chunks", "x"),
        ("2:chunks", ""),
        ("2:chunks", "2"),
        ("2:chunks", 5000 * "9"),
        ("2:bytes", "-1"),
        ("2:bytes", "49"),
        ("2:type", "image/png\r\nSet-Cookie: a=b"),
        ("2:etag", b"\xff"),
        ("2:clean", "\n"),
        ("2:0", ""),
    ],
)
async def test_data_written_by_another_program_is_not_taken_for_a_result(
    clean: RedisServer, store: RedisStore, field: str, value: str | bytes
) -> None:
    assert await store.put("a", "", SMALL)
    async with Redis.from_url(clean.url) as redis:
        await redis.hset(PREFIX + storage_key("a", ""), field, value)
    assert await store.get("a", "", 2) is None


async def test_a_redis_that_was_emptied_is_reported_for_a_minute(clean: RedisServer) -> None:
    now, emptied = 0.0, 0

    def count() -> None:
        nonlocal emptied
        emptied += 1

    link = RedisLink(clean.url, on_emptied=count, clock=lambda: now)
    await link.probe()
    assert (link.state, emptied) == ("ok", 0)
    async with Redis.from_url(clean.url) as redis:
        await redis.flushall()
    now = 30.0
    await link.probe()
    assert (link.state, emptied) == ("emptied", 1)
    assert link.up_seconds == 0.0  # leases have disappeared, too, and prove nothing
    now = 89.9
    await link.probe()
    assert (link.state, emptied) == ("emptied", 1)
    now = 90.0
    assert (link.state, emptied) == ("ok", 1)
    await link.close()


async def test_a_redis_that_is_emptied_repeatedly_is_logged_once(clean: RedisServer) -> None:
    """As by a `maxmemory` that is too small, and a policy that evicts whatever there is."""
    link = RedisLink(clean.url)
    await link.probe()
    async with Redis.from_url(clean.url) as redis:
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                await redis.flushall()
                await link.probe()
    assert len(logs) == 1
    await link.close()


async def test_a_restart_that_lost_all_data_is_counted_and_reported_as_an_outage(clean: RedisServer) -> None:
    emptied = 0

    def count() -> None:
        nonlocal emptied
        emptied += 1

    link = RedisLink(clean.url, on_emptied=count)
    await link.probe()
    clean.stop()
    await link.probe()
    assert link.state == "unavailable"
    clean.start()
    await link.probe()
    assert (link.state, emptied) == ("ok", 1)
    await link.close()


async def test_a_lease_counts_as_expired_only_if_redis_was_available_all_the_time(clean: RedisServer) -> None:
    now = 0.0
    link = RedisLink(clean.url, clock=lambda: now)
    now = 10.0
    await link.probe()
    assert link.up_seconds == 10.0
    clean.stop()
    await link.probe()
    now = 20.0
    assert link.up_seconds == 0.0
    clean.start()
    await link.probe()
    now = 25.0
    assert link.up_seconds == 5.0
    async with Redis.from_url(clean.url) as redis:
        await redis.config_set("maxmemory", 1)
        await link.probe()
        assert link.up_seconds == 0.0
        await redis.config_set("maxmemory", 0)
    now = 30.0
    await link.probe()
    now = 33.0
    assert link.up_seconds == 3.0
    await link.close()


async def test_a_lease_that_expired_during_a_pause_does_not_count_as_expired(
    clean: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All processes were stopped, or Redis's clock was set, and the lease is read before it can be renewed."""
    now = 0.0
    link = RedisLink(clean.url, clock=lambda: now)
    board = RedisBoard(link, 60.0, 10.0)
    await link.probe()
    now = 30.0
    await board.read("a", "")
    assert board.watched_seconds == 30.0
    monkeypatch.setattr("app.results.redis_link._BREAK_SECONDS", 0.01)
    await asyncio.sleep(0.02)
    await board.read("a", "")
    assert board.watched_seconds == 0.0
    now = 40.0
    await asyncio.sleep(0.02)
    await link.probe()
    assert board.watched_seconds == 0.0
    await link.close()


async def test_a_board_is_incomplete_until_a_lease_after_everything_was_lost(clean: RedisServer) -> None:
    """It is noticed at once, not at the next probe. A process that has just started knows of no loss."""
    now = 0.0
    link = RedisLink(clean.url, clock=lambda: now)
    board = RedisBoard(link, 60.0, 10.0)
    await link.probe()
    await board.read("a", "")
    assert not board.incomplete
    now = 1.0
    async with Redis.from_url(clean.url) as redis:
        await redis.flushall()
    await board.read("a", "")
    assert board.incomplete
    assert link.doubt.is_set()
    await link.probe()
    now = 10.9
    assert board.incomplete
    now = 11.0
    assert not board.incomplete
    await link.close()


async def test_eviction_never_removes_a_lease_without_its_job(clean: RedisServer) -> None:
    """As one with the policy volatile-ttl would, which begins with what expires first."""
    link = RedisLink(clean.url)
    board = RedisBoard(link, 60.0, 10.0)
    async with Redis.from_url(clean.url) as redis:
        await board.show("a", "", "a state")
        assert await board.read("a", "") == Shown("a state", leased=True, cancelled=False)
        for key in await redis.keys():
            kept = await redis.dump(key) or b""
            await redis.delete(key)
            seen = await board.read("a", "")
            assert seen.leased == (seen.document is not None)
            await redis.restore(key, 60_000, kept)
    await link.close()


async def test_a_lease_expires_unless_renewed_while_the_state_is_kept(clean: RedisServer) -> None:
    link = RedisLink(clean.url)
    board = RedisBoard(link, 60.0, 0.0)
    await board.show("a", "", "a state")
    assert await board.read("a", "") == Shown("a state", leased=False, cancelled=False)
    await RedisBoard(link, 60.0, 10.0).show("a", "", "the next")
    assert await board.read("a", "") == Shown("the next", leased=True, cancelled=False)
    await link.close()


async def test_two_processes_agree_on_the_marker(clean: RedisServer) -> None:
    first, second = RedisLink(clean.url), RedisLink(clean.url)
    for link in (first, second, first, second):
        await link.probe()
        assert link.state == "ok"
    await first.close()
    await second.close()


async def test_every_probe_renews_the_marker(clean: RedisServer) -> None:
    """Once it expired, Redis would be reported as emptied, although it still has everything else."""
    marker, minute, link = f"{KEYS}marker", 60_000, RedisLink(clean.url)
    await link.probe()
    async with Redis.from_url(clean.url) as redis:
        await redis.pexpire(marker, minute)
        await link.probe()
        assert await redis.pttl(marker) > 10 * minute
    await link.close()


async def test_a_redis_that_was_emptied_is_not_full_any_more(clean: RedisServer) -> None:
    link = RedisLink(clean.url)
    await link.probe()
    with pytest.raises(StoreUnavailable):
        async with link.talking():
            raise OutOfMemoryError
    before = link.state
    async with Redis.from_url(clean.url) as redis:
        await redis.flushall()
    await link.probe()
    assert (before, link.state) == ("full", "emptied")
    await link.close()


async def test_the_time_in_which_redis_was_available_begins_again_after_a_refused_command(clean: RedisServer) -> None:
    """Although its clock was read all the time: leases may not have been renewed."""
    now = 0.0
    link = RedisLink(clean.url, clock=lambda: now)

    async def refused() -> None:
        raise NoPermissionError

    await link.probe()
    now = 10.0
    assert link.up_seconds == 10.0
    await link.probe(refused)
    assert link.up_seconds == 0.0
    now = 11.0
    await link.probe()
    now = 12.0
    assert link.up_seconds == 1.0
    await link.close()


async def test_a_failed_call_causes_one_probe_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    store, probes = RedisStore("redis://127.0.0.1:1", 1 << 20, 60), 0

    async def probe(use: object) -> None:
        nonlocal probes
        probes += 1
        await asyncio.sleep(0)

    monkeypatch.setattr("app.results.redis.PROBE_SECONDS", 1000.0)
    monkeypatch.setattr(store._link, "probe", probe)
    store.start()
    for expected in (1, 2, 3):
        for _ in range(100):
            await asyncio.sleep(0)
        assert probes == expected
        store._link.doubt.set()
    await store.close()
