"""Jobs in Redis, for the other processes and replicas to see and to cancel."""

from app.results.base import storage_key
from app.results.board import Shown
from app.results.redis_link import RedisLink


class RedisBoard:
    """A JobBoard on three Redis keys per job, none of which holds the job's id: state, lease, wish to cancel."""

    def __init__(self, link: RedisLink, ttl_seconds: float, lease_seconds: float, prefix: str = "lapsrn:job:") -> None:
        """Borrows `link`; a state that is not shown again disappears after `ttl_seconds`, its lease much sooner."""
        self._link = link
        self._ttl_ms = int(ttl_seconds * 1000)
        self.lease_seconds = lease_seconds
        self._prefix = prefix

    @property
    def watched_seconds(self) -> float:
        """See JobBoard."""
        return self._link.up_seconds

    async def show(self, job_id: str, owner: str, document: str) -> bool:
        """See JobBoard. A job that is wanted cancelled is not shown any more."""
        key = self._prefix + storage_key(job_id, owner)
        async with self._link.talking() as redis:
            if await redis.exists(f"{key}:cancel"):
                return True
            async with redis.pipeline(transaction=True) as pipe:
                pipe.set(key, document, px=self._ttl_ms)
                pipe.set(f"{key}:lease", "1", px=int(self.lease_seconds * 1000))
                await pipe.execute()
        return False

    async def read(self, job_id: str, owner: str) -> Shown:
        """See JobBoard."""
        key = self._prefix + storage_key(job_id, owner)
        async with self._link.talking() as redis:
            document, lease, cancel = await redis.mget(key, f"{key}:lease", f"{key}:cancel")
        text = document.decode() if isinstance(document, bytes) else document
        return Shown(text, leased=lease is not None, cancelled=cancel is not None)

    async def cancel(self, job_id: str, owner: str) -> bool:
        """See JobBoard."""
        key = self._prefix + storage_key(job_id, owner)
        async with self._link.talking() as redis, redis.pipeline(transaction=True) as pipe:
            pipe.delete(key)
            pipe.set(f"{key}:cancel", "1", px=self._ttl_ms)
            removed, _ = await pipe.execute()
        return bool(removed)
