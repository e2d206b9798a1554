"""Results in Redis, shared by processes and replicas, with a TTL and eviction of the largest user's oldest result."""

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from app.errors import StoreUnavailable
from app.results.base import StoredPicture, StoreState, ignore, size_of, storage_key
from app.results.redis_board import RedisBoard
from app.results.redis_link import KEYS, RedisLink
from app.results.redis_scripts import COMPLETE, MAKE_ROOM, Call

CHUNK_BYTES = 1024 * 1024
"""Bytes of pictures per command. A link that transfers these within the timeout can carry a picture of any size."""
_TRANSFERS = 4
"""Commands with pictures that one process has under way: more would not be faster, but each would take longer, and on a
slow link exceed the timeout."""
_MAX_FIELD_BYTES = 200
"""Maximum size of a field other than a picture's bytes."""
_EVICTED = "The results store needed the room while this result was written. Ask again in a few seconds."
_CANCEL_SECONDS = 0.5
PROBE_SECONDS = 1.0
"""Pause between two probes of Redis."""


class RedisStore:
    """A ResultStore on one Redis hash per result.

    A level's picture is in the fields `{level}:0`, `{level}:1` and so on, of CHUNK_BYTES each. The fields that are
    written last make it fetchable: `{level}:chunks` (their number), `{level}:bytes` (its size), and `{level}:type`,
    `{level}:etag` and `{level}:clean`, which are those of StoredPicture.
    """

    def __init__(
        self,
        url: str,
        max_bytes: int,
        ttl_seconds: int,
        timeout_seconds: float = 2.0,
        prefix: str = f"{KEYS}result:",
        on_emptied: Callable[[], None] = lambda: None,
    ) -> None:
        """Connects lazily, at the first call. Keeps at most `max_bytes` of picture bytes, for all processes together.

        If Redis has a `maxmemory`, it must be higher, as Redis needs memory for itself. `timeout_seconds` is for one
        command. `on_emptied` is called when Redis is found to have lost everything.
        """
        self._link = RedisLink(url, timeout_seconds, f"{prefix}marker", on_emptied)
        self._make_room = self._link.redis.register_script(MAKE_ROOM)
        self._complete = self._link.redis.register_script(COMPLETE)
        self._max_bytes = max_bytes
        self._ttl = ttl_seconds
        self._prefix = prefix
        self._accounts = [f"{prefix}{name}" for name in ("ages", "sizes", "holders", "shares")]
        self._transfers = asyncio.Semaphore(_TRANSFERS)
        self._size = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """See ResultStore: probes Redis periodically."""
        self._keep(asyncio.create_task(self._watch()))

    async def put(self, result_id: str, owner: str, levels: Mapping[int, StoredPicture], client: str = "") -> bool:
        """See ResultStore. A result that is not kept evicts nothing. Raises StoreUnavailable if it is evicted while it
        is written; it may be put again.
        """
        size = size_of(levels)
        if size > self._max_bytes:
            return False
        key = self._key(result_id, owner)
        room = Call(self._make_room, [*self._accounts, key], [self._ttl, size, self._max_bytes, _hidden(client)])
        end = Call(self._complete, [self._accounts[1], key], [self._ttl, *_fields_of(levels)])
        batches = list(_batches(levels))
        complete = False
        try:
            for number, batch in enumerate(batches):
                first, last = number == 0, number == len(batches) - 1
                replies = await self._write(key, batch, room if first else None, end if last else None)
                if first and not replies[0][2]:
                    return False
                complete = last and bool(replies[-1])
        finally:
            if not complete:  # including cancellation
                self._keep(asyncio.create_task(self._forget_part(key)))
        if not complete:
            raise StoreUnavailable(_EVICTED, full=True)
        return True

    async def _write(
        self, key: str, chunks: Mapping[str, memoryview], before: Call | None, after: Call | None
    ) -> list[Any]:
        """Writes chunks, with a script before and after; returns Redis's replies. One pipeline, so one round trip."""

        async def send(redis: Redis) -> list[Any]:
            async with redis.pipeline(transaction=False) as pipe:
                if before is not None:
                    before.add_to(pipe)
                pipe.hset(key, mapping=chunks)  # type: ignore[arg-type]  # any buffer will do
                pipe.expire(key, self._ttl)
                if after is not None:
                    after.add_to(pipe)
                return await pipe.execute()

        async with self._transfers, self._link.talking() as redis:
            try:
                return await send(redis)
            except NoScriptError:  # Redis was restarted, or this is the first call
                for script in (self._make_room, self._complete):
                    await redis.script_load(script.script)
                return await send(redis)

    async def get(
        self, result_id: str, owner: str, level: int, before_reading: Callable[[int], None] = ignore
    ) -> StoredPicture | None:
        """See ResultStore. Data that another program has written there counts as no result."""
        key = self._key(result_id, owner)
        async with self._link.talking() as redis:
            names = ("chunks", "bytes", "type", "etag", "clean")
            count, size, *facts = map(_raw, await redis.hmget(key, [f"{level}:{name}" for name in names]))
        fields = (count, size, *facts)
        if not (count.isdigit() and size.isdigit() and all(facts[:2]) and all(map(_is_field, fields))):
            return None
        before_reading(int(size))
        chunks = []
        for number in range(int(count)):
            async with self._transfers, self._link.talking() as redis:
                chunk = await redis.hget(key, f"{level}:{number}")
            if chunk is None:  # expired or evicted while being read
                return None
            chunks.append(_raw(chunk))
        body = b"".join(chunks)
        return StoredPicture(body, *(value.decode() for value in facts)) if len(body) == int(size) else None

    async def delete(self, result_id: str, owner: str) -> bool:
        """See ResultStore."""
        return await self._forget(self._key(result_id, owner))

    async def available(self) -> bool:
        """See ResultStore. Also deletes what has expired, and updates `size_bytes`."""
        await self._link.probe(self._try_out)
        return self.state in ("ok", "emptied")

    @property
    def state(self) -> StoreState:
        """See ResultStore."""
        return self._link.state

    @property
    def reason(self) -> str:
        """Why it is "unavailable", or ""."""
        return self._link.reason

    @property
    def size_bytes(self) -> int:
        """Picture bytes held for all processes together, as of the last `available` or `delete`."""
        return self._size

    def board(self, ttl_seconds: float, lease_seconds: float) -> RedisBoard:
        """A board of jobs over the same connections; see RedisBoard."""
        return RedisBoard(self._link, ttl_seconds, lease_seconds)

    async def close(self) -> None:
        """Ends the probes, and closes the connections."""
        pending = set(self._tasks)
        while pending:  # a cancellation at the moment of a timeout can be mistaken for the timeout
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=_CANCEL_SECONDS)
        await self._link.close()

    async def _watch(self) -> None:
        while True:
            await self.available()
            self._link.doubt.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(PROBE_SECONDS):
                    await self._link.doubt.wait()

    async def _try_out(self) -> None:
        """Sends every kind of command once. Raises Redis's error if one is not permitted, or memory has run out.

        Otherwise results would not be kept, and jobs not end, while the service reports that it is ready.
        """
        await self._expire()
        key = f"{self._prefix}probe"
        async with self._link.redis.pipeline(transaction=False) as pipe:
            pipe.hset(key, "0", b"")
            pipe.expire(key, self._ttl)
            pipe.hmget(key, ["0"])
            pipe.hget(key, "0")
            pipe.mget([key])
            await pipe.execute()

    async def _forget_part(self, key: str) -> None:
        """Frees an incomplete result at once; if that fails, it expires."""
        with suppress(StoreUnavailable):
            await self._forget(key)

    async def _forget(self, key: str) -> bool:
        """Deletes a result, and what has expired; False if there was no such result."""
        async with self._link.talking():
            return await self._expire(key)

    async def _expire(self, *keys: str) -> bool:
        """Deletes what has expired, and `keys`; False if these did not exist."""
        before, self._size, _ = await self._make_room([*self._accounts, *keys], [self._ttl, 0, self._max_bytes, ""])
        return bool(before)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _key(self, result_id: str, owner: str) -> str:
        return self._prefix + storage_key(result_id, owner)


def _batches(levels: Mapping[int, StoredPicture]) -> Iterator[dict[str, memoryview]]:
    """The fields that hold pictures, in batches of up to CHUNK_BYTES for one command each."""
    batch: dict[str, memoryview] = {}
    room = CHUNK_BYTES
    for level, picture in levels.items():
        body = memoryview(picture.body)
        for number, start in enumerate(range(0, len(body), CHUNK_BYTES)):
            chunk = body[start : start + CHUNK_BYTES]
            if len(chunk) > room:
                yield batch
                batch, room = {}, CHUNK_BYTES
            batch[f"{level}:{number}"] = chunk
            room -= len(chunk)
    yield batch


def _fields_of(levels: Mapping[int, StoredPicture]) -> Iterator[str | int]:
    """Names and values, alternating, of the fields that make the pictures fetchable."""
    for level, picture in levels.items():
        fields: dict[str, str | int] = {
            "chunks": -(-len(picture.body) // CHUNK_BYTES),
            "type": picture.media_type,
            "etag": picture.etag,
            "clean": picture.clean,
            "bytes": len(picture.body),
        }
        for name, value in fields.items():
            yield from (f"{level}:{name}", value)


def _raw(value: bytes | str | None) -> bytes:
    """A reply as bytes; None becomes b"". (redis types replies as str, too, but does not decode them here.)"""
    return value.encode() if isinstance(value, str) else value or b""


def _is_field(value: bytes) -> bool:
    """Whether the value is short, and valid in a header."""
    return len(value) <= _MAX_FIELD_BYTES and value.isascii() and value.decode().isprintable()


def _hidden(client: str) -> str:
    """A client's name for Redis, hashed so that no addresses are stored."""
    return hashlib.sha256(client.encode()).hexdigest()[:32]
