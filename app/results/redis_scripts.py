"""Lua scripts that Redis runs atomically for a results store, and how they are called in a pipeline."""

from collections.abc import Sequence
from typing import NamedTuple

from redis.asyncio.client import Pipeline
from redis.commands.core import AsyncScript

MAKE_ROOM = """
-- KEYS: ages (sorted set: result -> expiry time), sizes (hash: result -> bytes, "total" -> their sum), holders
-- (hash: result -> client), shares (sorted set: client -> bytes), and the result to put or delete, if any.
-- ages .. ":" .. client is the same as ages for one client's results.
-- ARGV: TTL in seconds, bytes to put, bytes allowed, and the client.
-- Returns whether that result existed before, the bytes now accounted for, and whether there is room for the new ones.
-- Redis may evict each of these keys by itself, so nothing may depend on their agreement: a loop without an end would
-- stop Redis for good.
local ages, sizes, holders, shares, result = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local seconds, size, allowed, client = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local function forget(key, listed_for)
  -- UNLINK comes first: when out of memory, Redis refuses HINCRBY unless the script's first write needs no memory.
  local there = redis.call('UNLINK', key)
  local held, holder = redis.call('HGET', sizes, key) or 0, redis.call('HGET', holders, key) or listed_for
  redis.call('HINCRBY', sizes, 'total', 0 - held)
  redis.call('HDEL', sizes, key)
  redis.call('ZREM', ages, key)
  if holder then
    redis.call('HDEL', holders, key)
    redis.call('ZREM', ages .. ':' .. holder, key)
    if tonumber(redis.call('ZINCRBY', shares, 0 - held, holder)) <= 0 then redis.call('ZREM', shares, holder) end
  end
  return there
end
local function total()
  return tonumber(redis.call('HGET', sizes, 'total') or 0)
end
local function oldest_of_largest()
  for _, each in ipairs(redis.call('ZREVRANGE', shares, 0, 1)) do
    local oldest = redis.call('ZRANGE', ages .. ':' .. each, 0, 0)[1]
    if oldest then return oldest, each end  -- none if it is the client's first result: counted, but not added yet
  end
  return redis.call('ZRANGE', ages, 0, 0)[1]
end
local count = redis.call('ZCARD', ages)
if redis.call('HLEN', sizes) ~= count + 1 or redis.call('HLEN', holders) ~= count
    or (redis.call('ZCARD', shares) == 0) ~= (count == 0) then
  redis.call('UNLINK', ages, sizes, holders, shares)  -- there are none yet, or some were evicted: it begins anew
end
for _, key in ipairs(redis.call('ZRANGEBYSCORE', ages, '-inf', string.format('(%.6f', now))) do forget(key) end
local before = result and forget(result) or 0
if size > 0 then
  local others = total() - (redis.call('ZSCORE', shares, client) or 0)
  if 2 * size > allowed and size + others > allowed then return {before, total(), 0} end
  redis.call('ZINCRBY', shares, size, client)
end
while total() + size > allowed do
  local oldest, holder = oldest_of_largest()
  if not oldest then break end
  forget(oldest, holder)
end
if size > 0 then
  local expires, own = string.format('%.6f', now + seconds), ages .. ':' .. client
  redis.call('ZADD', ages, expires, result)
  redis.call('ZADD', own, expires, result)
  redis.call('HSET', sizes, result, size)
  redis.call('HINCRBY', sizes, 'total', size)
  redis.call('HSET', holders, result, client)
  for _, key in ipairs({ages, sizes, holders, shares, own}) do
    -- Another process may have a longer TTL.
    redis.call('EXPIRE', key, math.max(seconds + 60, redis.call('TTL', key)))
  end
end
return {before, total(), 1}
"""
COMPLETE = """
-- KEYS: sizes, and a result whose chunks have all been written. ARGV: TTL in seconds, and the names and values,
-- alternating, of the fields that make it fetchable. Returns 0 if the result was evicted meanwhile.
local sizes, result = KEYS[1], KEYS[2]
if redis.call('HEXISTS', sizes, result) == 0 then
  redis.call('UNLINK', result)
  return 0
end
redis.call('HSET', result, unpack(ARGV, 2))
redis.call('EXPIRE', result, ARGV[1])
return 1
"""


class Call(NamedTuple):
    """A script and its arguments."""

    script: AsyncScript
    keys: Sequence[str]
    arguments: Sequence[str | int]

    def add_to(self, pipe: Pipeline) -> None:
        """Adds the call to a pipeline. The script must be loaded in Redis."""
        pipe.evalsha(self.script.sha, len(self.keys), *self.keys, *map(str, self.arguments))
