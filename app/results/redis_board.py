"""Jobs in Redis, for the other processes and replicas to see and to cancel."""

from collections.abc import Sequence

from app.results.base import storage_key
from app.results.board import Shown
from app.results.redis_link import KEYS, RedisLink

_PREFIX = f"{KEYS}job:"
_SHOW = """
-- KEYS: state, lease, and wish to cancel, of one job. ARGV: the state, and for how many milliseconds it and the lease
-- are kept. Returns whether the job is wanted cancelled; then it is not shown.
if redis.call('EXISTS', KEYS[3]) == 1 then return 1 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[2], '1', 'PX', ARGV[3])
return 0
"""
_AGREE = """
-- KEYS: a state, and its lease. ARGV: the state that may be replaced, its successor, and for how many milliseconds that
-- and the lease are kept. Returns the one that is there then.
local there = redis.call('GET', KEYS[1])
if there and there ~= ARGV[1] then return there end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('SET', KEYS[2], '1', 'PX', ARGV[4])
return ARGV[2]
"""
_CANCEL = """
-- KEYS as above. ARGV: for how many milliseconds the wish is kept. Returns whether there was such a job. Without one
-- nothing is written: whoever asks for jobs that are not there would fill Redis.
if redis.call('DEL', KEYS[1]) == 0 then return 0 end
redis.call('SET', KEYS[3], '1', 'PX', ARGV[1])
return 1
"""


class RedisBoard:
    """A JobBoard on three Redis keys per job, none of which holds the job's id: state, lease, wish to cancel."""

    def __init__(self, link: RedisLink, ttl_seconds: float, lease_seconds: float) -> None:
        """Borrows `link`; a state that is not shown again disappears after `ttl_seconds`, its lease before it."""
        self._link = link
        self._show = link.redis.register_script(_SHOW)
        self._agree = link.redis.register_script(_AGREE)
        self._cancel = link.redis.register_script(_CANCEL)
        self._ttl_ms = int(max(ttl_seconds, lease_seconds) * 1000)
        self.lease_seconds = lease_seconds

    @property
    def watched_seconds(self) -> float:
        """See JobBoard."""
        return self._link.up_seconds

    async def show(self, job_id: str, owner: str, document: str) -> bool:
        """See JobBoard. A job that is wanted cancelled is not shown any more."""
        async with self._link.talking():
            lease_ms = int(self.lease_seconds * 1000)
            return bool(await self._show(self._keys(job_id, owner), [document, self._ttl_ms, lease_ms]))

    async def agree(self, job_id: str, owner: str, before: str | None, document: str, fresh_seconds: float) -> str:
        """See JobBoard."""
        async with self._link.talking():
            fresh_ms = int(fresh_seconds * 1000)
            shown = await self._agree(self._keys(job_id, owner)[:2], [before or "", document, self._ttl_ms, fresh_ms])
        return _text(shown)

    async def read(self, job_id: str, owner: str) -> Shown:
        """See JobBoard."""
        async with self._link.talking() as redis, redis.pipeline(transaction=False) as pipe:
            pipe.mget(self._keys(job_id, owner))
            pipe.time()
            (document, lease, cancel), told = await pipe.execute()
            self._link.told_time(told)
        text = None if document is None else _text(document)
        return Shown(text, leased=lease is not None, cancelled=cancel is not None)

    async def cancel(self, job_id: str, owner: str) -> bool:
        """See JobBoard."""
        async with self._link.talking():
            return bool(await self._cancel(self._keys(job_id, owner), [self._ttl_ms]))

    async def cancelled(self, jobs: Sequence[tuple[str, str]]) -> Sequence[bool]:
        """See JobBoard."""
        async with self._link.talking() as redis:
            wishes = await redis.mget([self._keys(*job)[2] for job in jobs])
        return [wish is not None for wish in wishes]

    def _keys(self, job_id: str, owner: str) -> list[str]:
        """State, lease, wish to cancel."""
        key = _PREFIX + storage_key(job_id, owner)
        return [key, f"{key}:lease", f"{key}:cancel"]


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
