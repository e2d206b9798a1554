"""Results in Redis, shared by processes and replicas; Redis itself expires them."""

from collections.abc import Mapping

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from app.errors import StoreUnavailable
from app.results.base import StoredPicture, storage_key
from app.results.board import RedisBoard

_Field = bytes | bytearray | memoryview | str | int | float
_AWAY = "The results store does not answer. Ask again in a few seconds."


class RedisStore:
    """A ResultStore on one Redis hash per result: `{level}:body`, `{level}:type`, `{level}:etag`."""

    def __init__(
        self, url: str, ttl_seconds: int, timeout_seconds: float = 2.0, prefix: str = "lapsrn:result:"
    ) -> None:
        """Connects lazily, at the first call. Byte caps are Redis's own (`maxmemory`, `allkeys-lru`)."""
        self._redis: Redis = Redis.from_url(
            url,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            retry=Retry(NoBackoff(), 1),
        )
        self._ttl = ttl_seconds
        self._prefix = prefix
        self._size = 0

    async def put(self, result_id: str, owner: str, levels: Mapping[int, StoredPicture]) -> bool:
        """See ResultStore. All levels and their time to live are set in one transaction."""
        key = self._key(result_id, owner)
        fields: dict[_Field, _Field] = {}
        for level, picture in levels.items():
            fields[f"{level}:body"] = picture.body
            fields[f"{level}:type"] = picture.media_type
            fields[f"{level}:etag"] = picture.etag
        try:
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.delete(key)
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
            return bool(await self._redis.delete(self._key(result_id, owner)))
        except (RedisError, OSError) as error:
            raise StoreUnavailable(_AWAY) from error

    async def available(self) -> bool:
        """Asks Redis for its memory figures, which `size_bytes` then shows; False when there is no answer."""
        try:
            self._size = int((await self._redis.info("memory"))["used_memory"])
        except (RedisError, OSError):
            return False
        return True

    @property
    def size_bytes(self) -> int:
        """Redis's own memory use when it was last asked by `available`."""
        return self._size

    def board(self, ttl_seconds: float) -> RedisBoard:
        """A board of jobs over the same connections."""
        return RedisBoard(self._redis, ttl_seconds)

    async def close(self) -> None:
        """Closes the connections."""
        await self._redis.aclose()

    def _key(self, result_id: str, owner: str) -> str:
        return self._prefix + storage_key(result_id, owner)


def _raw(value: bytes | str) -> bytes:
    """What redis sends back is bytes unless it was told to decode, which it was not."""
    return value if isinstance(value, bytes) else value.encode()
