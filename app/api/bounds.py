"""Limits of a connection, and the counters and timers that enforce them."""

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from app.api.connections import Connections
from app.errors import HeadersTooLarge
from app.settings import Settings

_LITTLE_BYTES = 64 * 1024
"""The rest of an answered request's body up to which the connection is kept open: it is read quickly."""
_FIELD_BYTES = len(": \r\n")


@dataclass(frozen=True, slots=True)
class ProtocolLimits:
    """Header bytes include the URL; times are in seconds.

    `body_idle_seconds` is the longest pause within a body, `body_seconds` the longest time for a whole body, and
    `write_idle_seconds` how long a client may read nothing of its response.
    """

    header_seconds: float
    header_bytes: int
    header_fields: int
    body_idle_seconds: float
    body_seconds: float
    write_idle_seconds: float

    @classmethod
    def of(cls, settings: Settings) -> "ProtocolLimits":
        """The limits in the settings."""
        return cls(
            header_seconds=settings.header_timeout_seconds,
            header_bytes=settings.max_header_bytes,
            header_fields=settings.max_header_fields,
            body_idle_seconds=settings.body_idle_seconds,
            body_seconds=settings.body_timeout_seconds,
            write_idle_seconds=settings.write_idle_seconds,
        )


class Timer:
    """Calls back once, a number of seconds after it was last started; can be stopped and started at any time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._loop, self._callback = loop, callback
        self._handle: asyncio.TimerHandle | None = None

    @property
    def running(self) -> bool:
        """Whether the callback is pending."""
        return self._handle is not None

    def start(self, seconds: float) -> None:
        """Starts or restarts the timer."""
        self.stop()
        self._handle = self._loop.call_later(seconds, self._fire)

    def stop(self) -> None:
        """Cancels the callback, if one is pending."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self) -> None:
        self._handle = None
        self._callback()


class HeaderCount:
    """Counts the URL, its parameters and the headers of one request at a time, including trailers."""

    def __init__(self, limits: ProtocolLimits) -> None:
        self._max_bytes, self._max_fields = limits.header_bytes, limits.header_fields
        self._bytes = self._fields = self._parameters = 0
        self._unparsed = 0

    def begin(self) -> None:
        """Resets the counts for a new request."""
        self._bytes = self._fields = self._parameters = self._unparsed = 0

    def address(self, piece: bytes) -> None:
        """Counts a piece of the URL. Raises HeadersTooLarge."""
        self._parameters += piece.count(b"&")
        if self._parameters >= self._max_fields:
            raise HeadersTooLarge(
                f"The address has more than {self._max_fields} parameters, which is the limit. Send fewer."
            )
        self._count(len(piece))

    def field(self, name: bytes, value: bytes) -> None:
        """Counts a header or trailer. Raises HeadersTooLarge."""
        self._fields += 1
        if self._fields > self._max_fields:
            raise HeadersTooLarge(
                f"The request has more than {self._max_fields} headers, which is the limit. Send fewer."
            )
        self._count(len(name) + len(value) + _FIELD_BYTES)

    def body(self) -> None:
        """Call for a piece of the body: the parser has reported all of its input."""
        self._unparsed = 0

    def fed(self, count: int) -> None:
        """Call before the parser gets `count` bytes."""
        self._unparsed += count

    @property
    def overfed(self) -> bool:
        """Whether the parser has buffered more bytes than headers may have: a single field that never ends."""
        return self._unparsed > self._max_bytes

    def _count(self, more: int) -> None:
        self._bytes += more
        if self._bytes > self._max_bytes:
            raise self.too_many_bytes()

    def too_many_bytes(self) -> HeadersTooLarge:
        """The error for headers that are too long."""
        return HeadersTooLarge(
            f"The request's address and headers have more than {self._max_bytes} bytes, which is the limit. "
            "Send fewer or shorter ones."
        )


class Outstanding:
    """How much of a body is outstanding, by the headers of its request."""

    def __init__(self, headers: Iterable[tuple[bytes, bytes]], *, asks: bool) -> None:
        """`asks`: the client sent Expect and waits for 100 (Continue); it may never send the body."""
        lengths = {name: value for name, value in headers if name in (b"content-length", b"transfer-encoding")}
        self._bytes = math.inf if b"transfer-encoding" in lengths else int(lengths.get(b"content-length", 0))
        self._asks = asks

    def took(self, count: int) -> None:
        """Call when `count` more bytes have arrived."""
        self._bytes -= count
        self._asks = False

    def complete(self) -> None:
        """Call when the body is complete."""
        self._bytes, self._asks = 0, False

    @property
    def little(self) -> bool:
        """Whether the rest is small and certain to arrive."""
        return not self._asks and self._bytes <= _LITTLE_BYTES


class Remainder:
    """Limits on reading the rest of a body whose request is answered: pauses, total time, and how many at once.

    Bytes are not limited: many clients read no response before they have sent the whole file, however large it is.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: ProtocolLimits,
        connections: Connections,
        give_up: Callable[[], None],
    ) -> None:
        self._limits, self._connections, self._give_up = limits, connections, give_up
        self._idle, self._end = Timer(loop, give_up), Timer(loop, give_up)
        self._client = ""

    @property
    def running(self) -> bool:
        """Whether the rest of a body is being read."""
        return self._end.running

    def start(self, client: str) -> None:
        """Starts the timers, and counts it for this client; no effect while it is running."""
        if self.running:
            return
        self._client = client
        self._idle.start(self._limits.body_idle_seconds)
        self._end.start(self._limits.body_seconds)
        self._connections.linger(client, self._give_up)

    def took(self) -> None:
        """Call when more has been read."""
        self._idle.start(self._limits.body_idle_seconds)

    def stop(self) -> None:
        """Stops the timers and the count."""
        self._idle.stop()
        self._end.stop()
        self._connections.stop_lingering(self._client, self._give_up)
