"""The transport of a client's connection: lets the protocol close it, and detects a client that does not read."""

import asyncio
import contextlib
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

from app.api.bounds import Timer

with contextlib.suppress(ImportError):  # Windows lacks both
    import fcntl
    import termios

_CHECKS = 4
"""Checks per idle time."""


class ClientTransport(asyncio.Transport):
    """The transport that uvicorn sees. It wraps that of the event loop, and leaves closing it to the protocol."""

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        idle_seconds: float,
        on_close: Callable[[], None],
        on_unread: Callable[[], None],
    ) -> None:
        """`on_close` is called to close the connection; it may keep reading before it calls `end`.

        `on_unread` is called when data is waiting and the client has acknowledged nothing for `idle_seconds`.
        """
        super().__init__()
        self._transport, self._loop = transport, loop
        self._idle_seconds = idle_seconds
        self._on_close, self._on_unread = on_close, on_unread
        self._half_closed = False
        self._paused = self._held = False
        self._watch = Timer(loop, self._check)
        self._written = self._taken = 0
        self._progress_at = 0.0

    def close(self) -> None:
        """Asks the protocol to close."""
        self._on_close()

    def half_close(self) -> None:
        """Half-closes the connection once everything is written; counts as closing from now on."""
        self._half_closed = True
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def end(self) -> None:
        """Closes once everything is written."""
        self._transport.close()

    def abort(self) -> None:
        """Resets the connection; unread data is dropped, including the kernel's buffer."""
        with contextlib.suppress(OSError, ValueError, AttributeError):  # uvloop: ValueError once it is closed
            self.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def lost(self) -> None:
        """Stops the checks, once the connection is lost."""
        self._watch.stop()

    def is_closing(self) -> bool:
        """Whether nothing more can be sent."""
        return self._half_closed or self._transport.is_closing()

    def write(self, data: Any) -> None:
        """Sends bytes, or buffers them until they can be sent."""
        if not self._watch.running:
            self._taken, self._progress_at = self.taken_so_far(), self._loop.time()
            self._watch.start(self._idle_seconds / _CHECKS)
        self._transport.write(data)
        self._written += len(data)

    def pause_reading(self) -> None:
        """Stops reading: backpressure by uvicorn."""
        self._paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Resumes reading, unless held; has no effect once the connection is being closed."""
        self._paused = False
        self._resume_if_free()

    def hold(self) -> None:
        """Stops reading until `unhold`, independently of uvicorn's own pausing."""
        self._held = True
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def unhold(self) -> bool:
        """Resumes reading, unless uvicorn has paused it; False if the connection is closing."""
        self._held = False
        self._resume_if_free()
        return not self._transport.is_closing()

    def _resume_if_free(self) -> None:
        if not (self._paused or self._held or self._transport.is_closing()):
            self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The underlying transport's information."""
        return self._transport.get_extra_info(name, default)

    def _check(self) -> None:
        """Checks the client's progress, as long as data is waiting to be sent."""
        if not self._transport.get_write_buffer_size():
            return
        taken, now = self.taken_so_far(), self._loop.time()
        if taken > self._taken:
            self._taken, self._progress_at = taken, now
        elif now - self._progress_at >= self._idle_seconds:
            self._on_unread()
            return
        self._watch.start(self._idle_seconds / _CHECKS)

    def taken_so_far(self) -> int:
        """Bytes that the client's TCP stack has acknowledged."""
        return self._written - self._transport.get_write_buffer_size() - _unacknowledged(self.get_extra_info("socket"))


def _unacknowledged(connection: Any) -> int:
    """Bytes in the kernel's send buffer that the peer has not acknowledged; 0 if the system cannot tell.

    Without this, a slow reader would look idle: the kernel accepts new bytes only when much of its buffer is free.
    """
    try:
        return int.from_bytes(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except (OSError, ValueError, AttributeError, NameError):
        return 0
