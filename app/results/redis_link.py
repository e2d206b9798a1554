"""The connection to Redis: a client, a probe, and a circuit breaker for outages."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterCrossSlotError,
    ClusterDownError,
    MasterDownError,
    OutOfMemoryError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from app.errors import StoreUnavailable
from app.results.base import StoreState
from app.results.redis_tls import share_context

FORM = 2
"""The version of everything written to Redis: keys, fields, the JSON of jobs and idempotency keys, and what the scripts
do. It is part of every key, so that releases with different versions do not misread each other's data. Increment it
when two releases that share a Redis could not read each other's (tests/results/test_stored_form.py)."""
KEYS = f"lapsrn:{FORM}:"
"""The prefix of every key."""
_AWAY = "The results store does not answer. Ask again in a few seconds."
_FULL = "The results store has no memory left. Ask again in a few minutes."
_MARKER_MS = 3_600_000
_MAX_CONNECTIONS = 2**31
"""Effectively unlimited: at a limit, calls would fail, including the probe, and Redis would seem to be away."""
_CALLS_AT_ONCE = 16
"""More calls wait. A thousand jobs would otherwise open a thousand connections, and in bursts delay everybody else."""
_EMPTIED_SECONDS = 60.0
_FULL_SECONDS = 45.0
"""How long the state is "full" after a refusal for lack of memory: the tiny probe may find room where a picture does
not."""
_OF_A_CLUSTER = (AskError, ClusterCrossSlotError, ClusterDownError, TryAgainError)
"""MOVED is a kind of AskError."""
_BREAK_SECONDS = 3.0
"""A longer gap in Redis's time between two replies is a break: probes come every second."""


class RedisLink:
    """Commands are sent inside `talking`; `probe`, to be called periodically, decides whether Redis answers.

    From a failed probe until the next one that succeeds, `talking` fails at once; commands under way are cut off.
    """

    def __init__(
        self,
        url: str,
        timeout_seconds: float = 2.0,
        marker: str = f"{KEYS}marker",
        on_emptied: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connects lazily. `timeout_seconds` is for one command, so commands must be small (see RedisStore).

        `marker` is a key that disappears with everything else when Redis is emptied; `on_emptied` is then called.
        Raises ValueError for a malformed URL, or one with unknown options.
        """
        _check(url)
        self._redis: Redis = Redis.from_url(
            url,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            max_connections=_MAX_CONNECTIONS,
            **({} if url.startswith("unix:") else {"socket_keepalive": True}),
            retry=Retry(NoBackoff(), 1, (RedisConnectionError,)),  # for stale connections; timeouts are not retried
        )
        # An address may be shared with programs that keep text in Redis; pictures are no text.
        self._redis.connection_pool.connection_kwargs["decode_responses"] = False
        try:
            share_context(self._redis.connection_pool, clock)
        except (TypeError, RedisError) as error:  # otherwise raised by the first command
            raise ValueError(str(error)) from None
        self._timeout = timeout_seconds
        self.marker, self._mark = marker, b""
        self._on_emptied = on_emptied
        self._clock = clock
        self._calls: set[asyncio.Timeout] = set()
        self._turns = asyncio.Semaphore(_CALLS_AT_ONCE)
        self._up, self._full = True, False
        self._began = self._up_since = self._heard = clock()
        self._redis_time: float | None = None
        self._emptied, self._refused = -_EMPTIED_SECONDS, -_FULL_SECONDS
        self.reason = ""
        """Why Redis was unusable at the last probe; "" if it was usable."""
        self.doubt = asyncio.Event()
        """Set when a call failed, so that Redis is probed at once."""

    @property
    def redis(self) -> Redis:
        """The client, to register scripts; commands go through `talking`."""
        return self._redis

    @property
    def state(self) -> StoreState:
        """As of the last probe; also "full" for a while after a refusal for lack of memory, and "emptied" for a minute
        after everything disappeared while Redis answered."""
        if not self._up:
            return "unavailable"
        if self._full or self._clock() - self._refused < _FULL_SECONDS:
            return "full"
        return "emptied" if self._clock() - self._emptied < _EMPTIED_SECONDS else "ok"

    @property
    def up_seconds(self) -> float:
        """How long Redis has answered, accepted writes, and kept its data; 0 while it does not."""
        return self._clock() - self._up_since if self._up and not self._full else 0.0

    @property
    def interrupted(self) -> bool:
        """Whether `up_seconds` count from a break; otherwise they count from the start of this process."""
        return self._up_since > self._began

    def observe_mark(self, mark: object) -> None:
        """Takes the marker, read along with other keys, and restarts `up_seconds` if Redis was emptied.

        The next probe, which follows at once, reports it.
        """
        if self._mark and mark != self._mark:
            self._up_since = self._clock()
            self.doubt.set()

    def observe_time(self, now: tuple[int, int]) -> None:
        """Takes Redis's time, (seconds, microseconds), and restarts `up_seconds` after a break.

        After a break, keys with a TTL may have expired although nobody was late to renew them: this process or the
        machine was suspended, or Redis's clock was changed.
        """
        before, self._redis_time = self._redis_time, now[0] + now[1] / 1e6
        if before is not None and self._redis_time - before > _BREAK_SECONDS:
            self._up_since = self._clock()

    @asynccontextmanager
    async def talking(self) -> AsyncIterator[Redis]:
        """The client, for a few commands. Raises StoreUnavailable if Redis does not answer or has no memory left."""
        if not self._up:
            raise StoreUnavailable(_AWAY)
        try:
            async with asyncio.timeout(None) as limit:
                self._calls.add(limit)
                try:
                    async with self._turns:
                        yield self._redis
                finally:
                    self._calls.discard(limit)
        except OutOfMemoryError as error:
            self._refused = self._clock()
            self.doubt.set()
            raise StoreUnavailable(_FULL, full=True) from error
        except Exception as error:  # a server that is not Redis may answer with anything, even unparsable
            self.doubt.set()
            _log().debug("a call of the results store failed", reason=_reason(error))
            raise StoreUnavailable(_AWAY) from error
        self._heard = self._clock()

    async def probe(self, use: Callable[[], Awaitable[object]] | None = None) -> None:
        """Checks whether Redis answers, can write, and permits what is needed; updates `state`.

        `use` tries out further commands, and raises if one fails, for example for lack of a permission.
        """
        began = self._clock()
        try:
            async with asyncio.timeout(self._timeout), self._redis.pipeline(transaction=False) as pipe:
                pipe.set(self.marker, secrets.token_hex(8), nx=True, px=_MARKER_MS)
                pipe.get(self.marker)
                pipe.pexpire(self.marker, _MARKER_MS)
                pipe.time()
                written, mark, _, now = await pipe.execute(raise_on_error=False)
            for reply in (written, now):
                if isinstance(reply, Exception) and not isinstance(reply, OutOfMemoryError):
                    raise reply  # read-only, unable to write to disk, or a missing permission
            self.observe_time(now)
            full = isinstance(written, OutOfMemoryError)
            try:
                if use is not None:
                    async with asyncio.timeout(self._timeout):
                        await use()
            except OutOfMemoryError:
                full = True
        except Exception as error:
            # On a slow link the probe may queue behind pictures; as long as their chunks get through, Redis is up. An
            # error response is a failure in any case.
            if self._heard <= began or isinstance(error, ResponseError):
                self._lost(error)
                await self._drop_idle_connections()
            return
        self._found(full=full, mark=mark)

    async def close(self) -> None:
        """Closes the connections, even if Redis does not confirm the end of TLS in time."""
        with suppress(Exception):
            await self._redis.aclose()

    def _lost(self, error: Exception) -> None:
        self.reason = _reason(error)
        if self._up:
            self._up = False
            _log().warning("the results store does not answer", reason=self.reason)
        for limit in self._calls:
            limit.reschedule(asyncio.get_running_loop().time())

    async def _drop_idle_connections(self) -> None:
        """After a failover the address leads to another server, but open connections still lead to the old one."""
        with suppress(Exception):
            await self._redis.connection_pool.disconnect(inuse_connections=False)

    def _found(self, full: bool, mark: object) -> None:
        self.reason = ""
        self._heard = self._clock()
        back = not self._up
        if back:
            self._up, self._up_since = True, self._heard
            _log().info("the results store answers again")
        if full != self._full:
            self._full, self._up_since = full, self._heard
            if full:
                _log().warning("the results store is out of memory")
            else:
                _log().info("the results store has room again")
        if not isinstance(mark, bytes):
            return
        if self._mark and mark != self._mark:
            self._up_since = self._heard  # leases may have been lost, too
            self._refused = self._heard - _FULL_SECONDS  # the memory is free again
            self._on_emptied()
            if not back:  # after a restart, the outage has been reported already
                if self.state != "emptied":  # log once even if Redis evicts the marker repeatedly
                    _log().warning("the results store was emptied: results and states of jobs are lost")
                self._emptied = self._heard
        self._mark = mark


def _check(url: str) -> None:
    """Raises ValueError for an address with parts that redis-py ignores.

    They are usually the rest of a password that was not encoded; the host, which is logged, would be its beginning.
    """
    parts = urlsplit(url)
    ignored = parts.hostname if parts.scheme == "unix" else parts.path.strip("/").lstrip("0123456789")
    if ignored or parts.fragment or not all("=" in option for option in parts.query.split("&") if option):
        raise ValueError("the address has parts that would be ignored")


def _reason(error: Exception) -> str:
    """What Redis or the system said, explained where that alone would not tell what to do.

    A node of a cluster, for example, may respond with nothing but a number and an address.
    """
    said = str(error) or type(error).__name__
    if isinstance(error, _OF_A_CLUSTER) and not isinstance(error, MasterDownError):
        return f"Redis Cluster is not supported, use a single Redis: {said}"
    if isinstance(error, AuthenticationError):
        return f"the password in LAPSRN_REDIS_URL, or its user, is wrong or missing: {said}"
    return said


def _log() -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.get_logger("lapsrn")
    return logger
