"""Connections to Redis over TLS that share one context, since reading certificates blocks the event loop for 15 ms."""

import time
from collections.abc import Callable
from typing import Any

from redis.asyncio.connection import ConnectionPool, RedisSSLContext, SSLConnection

_REFRESH_SECONDS = 60.0
"""Certificates are read again after this time, since they may have been renewed."""


def share_context(pool: ConnectionPool, clock: Callable[[], float] = time.monotonic) -> None:
    """Lets all connections of `pool` share a context if they use TLS. Raises what a connection's options raise."""
    one = pool.make_connection()  # type: ignore[no-untyped-call]
    if isinstance(one, SSLConnection):
        pool.connection_kwargs["shared"] = _SharedContext(one.ssl_context, clock)
        pool.connection_class = _Connection


class _SharedContext(RedisSSLContext):
    def __init__(self, options: RedisSSLContext, clock: Callable[[], float]) -> None:
        for name in RedisSSLContext.__slots__:
            setattr(self, name, getattr(options, name))
        self.password = options.password or ""  # None would let OpenSSL ask for it on the terminal
        self._clock, self._read_at = clock, clock()

    def get(self) -> Any:
        """The context; read at its first use, and again after a while."""
        if self._clock() - self._read_at > _REFRESH_SECONDS:
            self.context = None
        if self.context is None:
            self._read_at = self._clock()
        return super().get()


class _Connection(SSLConnection):
    def __init__(self, shared: RedisSSLContext, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context = shared
