"""The connection to Redis: a client, a probe, and a circuit breaker for while Redis does not answer."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ResponseError

from app.errors import StoreUnavailable
from app.results.base import StoreState

FORM = 2
"""Of all that is written to Redis: keys, fields, the JSON of jobs and idempotency keys, and what the scripts do. It is
part of every key, so that a version with another one finds nothing there, rather than something to misread; it is
raised when two versions that share a Redis could not read each other (tests/results/test_stored_form.py)."""
KEYS = f"lapsrn:{FORM}:"
"""What every key begins with."""
_AWAY = "The results store does not answer. Ask again in a few seconds."
_FULL = "The results store has no memory left. Ask again in a few minutes."
_MARKER_MS = 3_600_000
_MOST_CONNECTIONS = 2**31
"""No fewer than there are requests: whoever finds none left is refused, also the probe, and Redis seems to be away."""
_EMPTIED_SECONDS = 60.0
_FULL_SECONDS = 45.0
"""How long a refusal for want of memory is told: a probe, which is tiny, finds room where a picture does not."""
_BREAK_SECONDS = 3.0
"""More time of Redis's between two answers than this is a break: probes come every second."""


class RedisLink:
    """Commands are sent inside `talking`; `probe`, to be called periodically, decides whether Redis answers.

    Once a probe has failed, `talking` fails at once, and commands under way are cut off, until a probe succeeds.
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

        `marker` is a key that disappears with everything else when Redis is emptied; then `on_emptied` is called.
        Raises ValueError for an address that cannot be read, or options in it that there are not.
        """
        self._redis: Redis = Redis.from_url(
            url,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            max_connections=_MOST_CONNECTIONS,
            **({} if url.startswith("unix:") else {"socket_keepalive": True}),
            retry=Retry(NoBackoff(), 1, (RedisConnectionError,)),  # a connection of before a restart; no second timeout
        )
        try:
            self._redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        except TypeError as error:  # it would be raised by the first command
            raise ValueError(str(error)) from None
        self._timeout = timeout_seconds
        self._marker, self._mark = marker, b""
        self._on_emptied = on_emptied
        self._clock = clock
        self._calls: set[asyncio.Timeout] = set()
        self._up, self._full = True, False
        self._up_since = self._heard = clock()
        self._redis_time: float | None = None
        self._emptied, self._refused = -_EMPTIED_SECONDS, -_FULL_SECONDS
        self.reason = ""
        """Why Redis could not be used when it was last probed, in its words or the system's; "" if it could."""
        self.doubt = asyncio.Event()
        """Set when a call failed: time for a probe."""

    @property
    def redis(self) -> Redis:
        """The client, to register scripts; commands go through `talking`."""
        return self._redis

    @property
    def state(self) -> StoreState:
        """As of the last probe; "full" also for a while after anything was refused for want of memory, and "emptied"
        for a minute after everything had disappeared while Redis answered."""
        if not self._up:
            return "unavailable"
        if self._full or self._clock() - self._refused < _FULL_SECONDS:
            return "full"
        return "emptied" if self._clock() - self._emptied < _EMPTIED_SECONDS else "ok"

    @property
    def up_seconds(self) -> float:
        """How long Redis has answered, had room for what others write, and kept it; 0 while it does not."""
        return self._clock() - self._up_since if self._up and not self._full else 0.0

    def told_time(self, told: tuple[int, int]) -> None:
        """Takes Redis's time, seconds and microseconds, to notice a break; see `up_seconds`.

        What has a time to live in Redis may then be gone although nobody was too late: this process, or the machine,
        was stopped for a while, or Redis's clock was set.
        """
        before, self._redis_time = self._redis_time, told[0] + told[1] / 1e6
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
                    yield self._redis
                finally:
                    self._calls.discard(limit)
        except OutOfMemoryError as error:
            self._refused = self._clock()
            self.doubt.set()
            raise StoreUnavailable(_FULL, full=True) from error
        except Exception as error:  # what is no Redis may answer with anything, also with what redis cannot parse
            self.doubt.set()
            _log().debug("the results store did not do as told", reason=_reason(error))
            raise StoreUnavailable(_AWAY) from error
        self._heard = self._clock()

    async def probe(self, use: Callable[[], Awaitable[object]] | None = None) -> None:
        """Asks whether Redis answers, can write, and can be used as it is to be; updates `state`.

        `use` raises where it cannot, such as for want of a permission.
        """
        began = self._clock()
        try:
            async with asyncio.timeout(self._timeout), self._redis.pipeline(transaction=False) as pipe:
                pipe.set(self._marker, secrets.token_hex(8), nx=True, px=_MARKER_MS)
                pipe.get(self._marker)
                pipe.pexpire(self._marker, _MARKER_MS)
                pipe.time()
                written, mark, _, told = await pipe.execute(raise_on_error=False)
            for answer in (written, told):
                if isinstance(answer, Exception) and not isinstance(answer, OutOfMemoryError):
                    raise answer  # read-only, may not write to its disk, or a permission
            self.told_time(told)
            full = isinstance(written, OutOfMemoryError)
            try:
                if use is not None:
                    async with asyncio.timeout(self._timeout):
                        await use()
            except OutOfMemoryError:
                full = True
        except Exception as error:
            # On a slow link the probe may queue behind pictures; as long as their pieces get through, Redis is up. A
            # refusal is one all the same.
            if self._heard <= began or isinstance(error, ResponseError):
                self._lost(error)
                await self._connect_anew()
            return
        self._found(full=full, mark=mark)

    async def close(self) -> None:
        """Closes the connections."""
        await self._redis.aclose()

    def _lost(self, error: Exception) -> None:
        self.reason = _reason(error)
        if self._up:
            self._up = False
            _log().warning("the results store does not answer", reason=self.reason)
        for limit in self._calls:
            limit.reschedule(asyncio.get_running_loop().time())

    async def _connect_anew(self) -> None:
        """Where the address leads to another server after a failover, open connections still end at the old one."""
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
            (_log().warning if full else _log().info)(
                "the results store is out of memory" if full else "the results store has room again"
            )
        if not isinstance(mark, bytes):
            return
        if self._mark and mark != self._mark:
            self._up_since = self._heard  # leases may be gone, too
            self._refused = self._heard - _FULL_SECONDS  # and what took the memory
            self._on_emptied()
            if not back:  # after a restart the outage has been reported already
                if self.state != "emptied":  # or it evicts the marker again and again
                    _log().warning("the results store was emptied: results and states of jobs are lost")
                self._emptied = self._heard
        self._mark = mark


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _log() -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.get_logger("lapsrn")
    return logger
