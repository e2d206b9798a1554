"""Publishes jobs in Redis, where other processes and replicas can read and cancel them."""

from collections.abc import Sequence

from app.results.base import storage_key
from app.results.board import Shown
from app.results.redis_link import KEYS, RedisLink

_PREFIX = f"{KEYS}job:"
_WRITE = """
local function write(state, kept_ms, leased_ms)
  local now = redis.call('TIME')
  local leased_until = now[1] * 1000 + math.floor(now[2] / 1000) + leased_ms
  redis.call('HSET', KEYS[1], 'document', state, 'leased_until', string.format('%.0f', leased_until))
  redis.call('PEXPIRE', KEYS[1], kept_ms)
end
"""
_SHOW = f"""
-- KEYS: a job. ARGV: its state, and the TTLs of the state and of its lease in milliseconds. Returns whether the job's
-- cancellation was requested, in which case nothing is written.
{_WRITE}
if redis.call('HEXISTS', KEYS[1], 'cancelled') == 1 then return 1 end
write(ARGV[1], ARGV[2], ARGV[3])
return 0
"""
_AGREE = f"""
-- KEYS: a job. ARGV: the state that may be replaced, its successor, and the TTLs of the successor and of its lease in
-- milliseconds. Returns the resulting state (compare and set).
{_WRITE}
local there = redis.call('HGET', KEYS[1], 'document')
if there and there ~= ARGV[1] then return there end
write(ARGV[2], ARGV[3], ARGV[4])
return ARGV[2]
"""
_CANCEL = """
-- KEYS: a job. ARGV: the TTL of the cancellation in milliseconds. Returns whether the job existed. Otherwise nothing is
-- written: requests for unknown jobs could fill Redis.
if redis.call('HDEL', KEYS[1], 'document', 'leased_until') == 0 then return 0 end
redis.call('HSET', KEYS[1], 'cancelled', '1')
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
"""


class RedisBoard:
    """A JobBoard with one Redis hash per job, without its id: its state, the end of its lease, or a cancellation.

    A single key, so that a Redis that evicts keys loses all of a job or nothing: an evicted lease alone would look like
    one that has ended.
    """

    def __init__(self, link: RedisLink, ttl_seconds: float, lease_seconds: float) -> None:
        """Borrows `link`. A state that is not renewed expires after `ttl_seconds`, its lease after `lease_seconds`."""
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

    @property
    def incomplete(self) -> bool:
        """See JobBoard."""
        return self._link.interrupted and self._link.up_seconds < self.lease_seconds

    async def show(self, job_id: str, owner: str, document: str) -> bool:
        """See JobBoard. A cancelled job is not shown any more."""
        lease_ms = int(self.lease_seconds * 1000)
        async with self._link.talking():
            return bool(await self._show([_key(job_id, owner)], [document, self._ttl_ms, lease_ms]))

    async def agree(self, job_id: str, owner: str, before: str | None, document: str, fresh_seconds: float) -> str:
        """See JobBoard."""
        async with self._link.talking():
            fresh_ms = int(fresh_seconds * 1000)
            shown = await self._agree([_key(job_id, owner)], [before or "", document, self._ttl_ms, fresh_ms])
        return _text(shown)

    async def read(self, job_id: str, owner: str) -> Shown:
        """See JobBoard."""
        async with self._link.talking() as redis, redis.pipeline(transaction=False) as pipe:
            pipe.hmget(_key(job_id, owner), ["document", "leased_until", "cancelled"])
            pipe.time()
            pipe.get(self._link.marker)
            (document, leased_until, cancelled), now, mark = await pipe.execute()
            self._link.observe_time(now)
            self._link.observe_mark(mark)
        leased = leased_until is not None and _in_future(_text(leased_until), now)
        return Shown(None if document is None else _text(document), leased, cancelled is not None)

    async def cancel(self, job_id: str, owner: str) -> bool:
        """See JobBoard."""
        async with self._link.talking():
            return bool(await self._cancel([_key(job_id, owner)], [self._ttl_ms]))

    async def cancelled(self, jobs: Sequence[tuple[str, str]]) -> Sequence[bool]:
        """See JobBoard."""
        async with self._link.talking() as redis, redis.pipeline(transaction=False) as pipe:
            for job in jobs:
                pipe.hexists(_key(*job), "cancelled")
            return [bool(cancelled) for cancelled in await pipe.execute()]


def _key(job_id: str, owner: str) -> str:
    return _PREFIX + storage_key(job_id, owner)


def _in_future(milliseconds: str, now: tuple[int, int]) -> bool:
    """`now` is (seconds, microseconds), as returned by TIME. False for values that another program has written."""
    return milliseconds.isdecimal() and int(milliseconds) > now[0] * 1000 + now[1] // 1000


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
