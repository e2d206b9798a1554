"""Results in Redis, shared by processes and replicas: Redis expires them, and the oldest go first at the byte cap."""

from collections.abc import Mapping

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from app.errors import StoreUnavailable
from app.results.base import StoredPicture, storage_key
from app.results.redis_board import RedisBoard

_Field = bytes | bytearray | memoryview | str | int | float
_AWAY = "The results store does not answer. Ask again in a few seconds."
_MAKE_ROOM = """
-- KEYS: ages (sorted set: result -> when it expires), sizes (hash: result -> bytes, "total" -> their sum), and the
-- result that is put or deleted, if any. ARGV: seconds to live, bytes that are put, bytes allowed.
-- Returns whether that result was there before, and the bytes now accounted for.
local ages, sizes, result = KEYS[1], KEYS[2], KEYS[3]
local seconds, size, allowed = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local function forget(key)
  redis.call('HINCRBY', sizes, 'total', 0 - (redis.call('HGET', sizes, key) or 0))
  redis.call('HDEL', sizes, key)
  redis.call('ZREM', ages, key)
  return redis.call('DEL', key)
end
local function total()
  return tonumber(redis.call('HGET', sizes, 'total') or 0)
end
for _, key in ipairs(redis.call('ZRANGEBYSCORE', ages, '-inf', string.format('(%.6f', now))) do forget(key) end
local before = result and forget(result) or 0
while total() + size > allowed do
  local oldest = redis.call('ZRANGE', ages, 0, 0)[1]
  if not oldest then break end
  forget(oldest)
end
if size > 0 then
  redis.call('ZADD', ages, string.format('%.6f', now + seconds), result)
  redis.call('HSET', sizes, result, size)
  redis.call('HINCRBY', sizes, 'total', size)
  redis.call('EXPIRE', ages, seconds + 60)
  redis.call('EXPIRE', sizes, seconds + 60)
end
return {before, total()}
"""


class RedisStore:
    """A ResultStore on one Redis hash per result: `{level}:body`, `{level}:type`, `{level}:etag`."""

    def __init__(
        self,
        url: str,
        max_bytes: int,
        ttl_seconds: int,
        timeout_seconds: float = 2.0,
        prefix: str = "lapsrn:result:",
    ) -> None:
        """Connects lazily, at the first call. Keeps at most `max_bytes` of picture bytes, all processes together.

        A `maxmemory` of Redis's own is above that, by what Redis needs for itself.
        """
        self._redis: Redis = Redis.from_url(
            url,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            retry=Retry(NoBackoff(), 1),
        )
        self._make_room = self._redis.register_script(_MAKE_ROOM)
        self._max_bytes = max_bytes
        self._ttl = ttl_seconds
        self._prefix = prefix
        self._accounts = [f"{prefix}ages", f"{prefix}sizes"]
        self._size = 0

    async def put(self, result_id: str, owner: str, levels: Mapping[int, StoredPicture]) -> bool:
        """See ResultStore. One transaction; a result larger than the whole cap is not kept, and pushes nothing out."""
        size = sum(len(picture.body) for picture in levels.values())
        if size > self._max_bytes:
            return False
        key = self._key(result_id, owner)
        fields: dict[_Field, _Field] = {}
        for level, picture in levels.items():
            fields[f"{level}:body"] = picture.body
            fields[f"{level}:type"] = picture.media_type
            fields[f"{level}:etag"] = picture.etag
        try:
            async with self._redis.pipeline(transaction=True) as pipe:
                await self._make_room([*self._accounts, key], [self._ttl, size, self._max_bytes], pipe)
                pipe.hset(key, mapping=fields)
                pipe.expire(key, self._ttl)
                await pipe.execute()
        except (RedisError, OSError) as error:
            raise StoreUnavailable(_AWAY) from error
        return True

    async def get(self, result_id: str, owner: str, level: int) -> StoredPicture | None:
        """See ResultStore."""
        names = [f"{level}:body", f"{level}:type", f"{level}:etag"]
        try:
            body, media_type, etag = await self._redis.hmget(self._key(result_id, owner), names)
        except (RedisError, OSError) as error:
            raise StoreUnavailable(_AWAY) from error
        if body is None or media_type is None or etag is None:
            return None
        return StoredPicture(_raw(body), _raw(media_type).decode(), _raw(etag).decode())

    async def delete(self, result_id: str, owner: str) -> bool:
        """See ResultStore."""
        try:
            return await self._forget(self._key(result_id, owner))
        except (RedisError, OSError) as error:
            raise StoreUnavailable(_AWAY) from error

    async def available(self) -> bool:
        """Asks Redis to forget what has expired, and for the bytes held, which `size_bytes` then shows."""
        try:
            await self._forget()
        except (RedisError, OSError):
            return False
        return True

    @property
    def size_bytes(self) -> int:
        """Picture bytes held by all processes together when Redis was last asked by `available` or `delete`."""
        return self._size

    def board(self, ttl_seconds: float) -> RedisBoard:
        """A board of jobs over the same connections."""
        return RedisBoard(self._redis, ttl_seconds)

    async def close(self) -> None:
        """Closes the connections."""
        await self._redis.aclose()

    async def _forget(self, *keys: str) -> bool:
        """Deletes a result, and what has expired; False if the result was not there."""
        before, self._size = await self._make_room([*self._accounts, *keys], [self._ttl, 0, self._max_bytes])
        return bool(before)

    def _key(self, result_id: str, owner: str) -> str:
        return self._prefix + storage_key(result_id, owner)


def _raw(value: bytes | str) -> bytes:
    """What redis sends back is bytes unless it was told to decode, which it was not."""
    return value if isinstance(value, bytes) else value.encode()
