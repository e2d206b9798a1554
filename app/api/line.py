"""The transport under a connection: closing it is left to the protocol, which may have more to read first."""

import asyncio
from collections.abc import Callable
from typing import Any


class Timer:
    """Calls back once, so many seconds after its last start; can be stopped and started at any time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._loop, self._callback = loop, callback
        self._handle: asyncio.TimerHandle | None = None

    @property
    def running(self) -> bool:
        """Whether the call is still to come."""
        return self._handle is not None

    def start(self, seconds: float) -> None:
        """Starts, or starts again from now."""
        self.stop()
        self._handle = self._loop.call_later(seconds, self._fire)

    def stop(self) -> None:
        """Calls nobody; a timer that is not running stays so."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self) -> None:
        self._handle = None
        self._callback()


class Line(asyncio.Transport):
    """What uvicorn takes for its transport. `close` asks `closing`, which may go on reading and call `end` later."""

    def __init__(self, transport: asyncio.Transport, closing: Callable[[], None]) -> None:
        super().__init__()
        self._transport = transport
        self._closing = closing
        self._half_closed = False

    def close(self) -> None:
        """Asks the protocol to close."""
        self._closing()

    def half_close(self) -> None:
        """Ends the writing side once everything is written; counts as closing from now on."""
        self._half_closed = True
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def end(self) -> None:
        """Closes, once everything is written."""
        self._transport.close()

    def abort(self) -> None:
        """Closes at once and drops what is not written."""
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether nothing more can be sent."""
        return self._half_closed or self._transport.is_closing()

    def write(self, data: Any) -> None:
        """Sends bytes, or keeps them until they can be sent."""
        self._transport.write(data)

    def pause_reading(self) -> None:
        """Lets the client wait."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Reads on; harmless once the connection is being closed."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As the transport says."""
        return self._transport.get_extra_info(name, default)
