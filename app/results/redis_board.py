"""Jobs in Redis, for the other processes and replicas to see and to cancel."""

from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.errors import StoreUnavailable
from app.results.base import storage_key

_AWAY = "The store of jobs does not answer. Ask again in a few seconds."


class RedisBoard:
    """A JobBoard on two Redis keys per job, neither of which holds the job's id."""

    def __init__(self, redis: Redis, ttl_seconds: float, prefix: str = "lapsrn:job:") -> None:
        """Borrows `redis`; a state that is not shown again disappears after `ttl_seconds`."""
        self._redis = redis
        self._ttl_ms = int(ttl_seconds * 1000)
        self._prefix = prefix

    async def show(self, job_id: str, owner: str, document: str) -> bool:
        """See JobBoard. A job that is wanted cancelled is not shown any more."""
        key = self._prefix + storage_key(job_id, owner)
        try:
            if await self._redis.exists(f"{key}:cancel"):
                return True
            await self._redis.set(key, document, px=self._ttl_ms)
        except (RedisError, OSError) as error:
            raise StoreUnavailable(_AWAY) from error
        return False

    async def read(self, job_id: str, owner: str) -> str | None:
        """See JobBoard."""
        try:
            found = await self._redis.get(self._prefix + storage_key(job_id, owner))
        except (RedisError, OSError) as error:
            raise StoreUnavailable(_AWAY) from error
        return found.decode() if isinstance(found, bytes) else found

    async def cancel(self, job_id: str, owner: str) -> bool:
        """See JobBoard."""
        key = self._prefix + storage_key(job_id, owner)
        try:
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.delete(key)
                pipe.set(f"{key}:cancel", "1", px=self._ttl_ms)
                removed, _ = await pipe.execute()
        except (RedisError, OSError) as error:
            raise StoreUnavailable(_AWAY) from error
        return bool(removed)
