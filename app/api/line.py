"""The transport under a connection: asks before it closes, and notices a client that takes nothing of its answer."""

import asyncio
import contextlib
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

from app.api.bounds import Timer

with contextlib.suppress(ImportError):  # Windows does not tell
    import fcntl
    import termios

_LOOKS = 4
"""In the time that a client may take nothing, so often it is looked at."""


class Line(asyncio.Transport):
    """What uvicorn takes for its transport; it leaves closing to the protocol, and notices when nobody reads."""

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        idle_seconds: float,
        on_close: Callable[[], None],
        on_unread: Callable[[], None],
    ) -> None:
        """`on_close` is asked to close, and may read on before it calls `end`.

        `on_unread` is called when something waits to be sent and the client has taken nothing for `idle_seconds`.
        """
        super().__init__()
        self._transport, self._loop = transport, loop
        self._idle_seconds = idle_seconds
        self._on_close, self._on_unread = on_close, on_unread
        self._half_closed = False
        self._paused = self._held = False
        self._watch = Timer(loop, self._look)
        self._written = self._taken = 0
        self._progress_at = 0.0

    def close(self) -> None:
        """Asks the protocol to close."""
        self._on_close()

    def half_close(self) -> None:
        """Ends the writing side once everything is written; counts as closing from now on."""
        self._half_closed = True
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def end(self) -> None:
        """Closes once everything is written."""
        self._transport.close()

    def abort(self) -> None:
        """Resets the connection: what the client has not read is dropped, also by the system."""
        with contextlib.suppress(OSError, ValueError, AttributeError):  # uvloop: ValueError once it is closed
            self.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def lost(self) -> None:
        """The connection is gone: nothing is watched any more."""
        self._watch.stop()

    def is_closing(self) -> bool:
        """Whether nothing more can be sent."""
        return self._half_closed or self._transport.is_closing()

    def write(self, data: Any) -> None:
        """Sends bytes, or keeps them until they can be sent."""
        if not self._watch.running:
            self._taken, self._progress_at = self.taken_so_far(), self._loop.time()
            self._watch.start(self._idle_seconds / _LOOKS)
        self._transport.write(data)
        self._written += len(data)

    def pause_reading(self) -> None:
        """Lets the client wait."""
        self._paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Reads on, unless the line is held; harmless once the connection is being closed."""
        self._paused = False
        self._read_on()

    def hold(self) -> None:
        """Reads nothing until `let_go`, whatever uvicorn says meanwhile."""
        self._held = True
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def let_go(self) -> bool:
        """Reads on, unless uvicorn has paused it; returns whether anything can still come."""
        self._held = False
        self._read_on()
        return not self._transport.is_closing()

    def _read_on(self) -> None:
        if not (self._paused or self._held or self._transport.is_closing()):
            self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As the transport says."""
        return self._transport.get_extra_info(name, default)

    def _look(self) -> None:
        """Compares what the client has taken with what it had taken before, as long as something waits here."""
        if not self._transport.get_write_buffer_size():
            return
        taken, now = self.taken_so_far(), self._loop.time()
        if taken > self._taken:
            self._taken, self._progress_at = taken, now
        elif now - self._progress_at >= self._idle_seconds:
            self._on_unread()
            return
        self._watch.start(self._idle_seconds / _LOOKS)

    def taken_so_far(self) -> int:
        """Bytes that the client's system has confirmed."""
        return self._written - self._transport.get_write_buffer_size() - _unacknowledged(self.get_extra_info("socket"))


def _unacknowledged(connection: Any) -> int:
    """Bytes that the system holds for a socket because the other side has not confirmed them; 0 where it cannot say.

    Without them a slow reader looks idle: the system takes new bytes only when much of its own buffer is free.
    """
    try:
        return int.from_bytes(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except (OSError, ValueError, AttributeError, NameError):
        return 0
