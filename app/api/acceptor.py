"""Takes connections from a socket that several processes listen on."""

import asyncio
import contextlib
import socket
from collections.abc import Callable

_STEP_ASIDE_SECONDS = 0.002
"""After each turn, in which another process may have the next one."""
_MOST_AT_ONCE = 64
"""Connections taken in one turn, however many wait."""
_PAUSE_SECONDS = 1.0
"""After a connection could not be taken, as for want of descriptors."""


class Acceptor:
    """Takes one connection, then leaves the next one to others for a moment.

    The loop's own server takes all that wait, so that the first process to wake would have every one of a crowd of
    clients, and keep them. Here the processes share them, and one that is busy takes fewer. While connections are left
    waiting each turn takes one more than the one before, so that those of one client, however fast it opens them, do
    not fill the queue for others. Has the methods of asyncio.Server that uvicorn calls.
    """

    def __init__(self, listener: socket.socket, make_protocol: Callable[[], asyncio.Protocol]) -> None:
        """Begins at once, on the running loop; `listener` is not closed here."""
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._make_protocol = make_protocol
        self._tasks: set[asyncio.Task[object]] = set()
        self._paused: asyncio.TimerHandle | None = None
        self._at_once = 1
        listener.setblocking(False)
        self._resume()

    def close(self) -> None:
        """Takes no more; the connections that were taken stay."""
        if self._paused is not None:
            self._paused.cancel()
        self._loop.remove_reader(self._listener)

    async def wait_closed(self) -> None:
        """Until what was taken has its protocol."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _resume(self) -> None:
        self._paused = None
        self._loop.add_reader(self._listener, self._accept)

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener)
        self._paused = self._loop.call_later(seconds, self._resume)

    def _accept(self) -> None:
        taken = 0
        try:
            while taken < self._at_once:
                self._take(self._listener.accept()[0])
                taken += 1
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            self._at_once = 1  # no more wait, another process was faster, or the client has gone
        except OSError:
            self._pause(_PAUSE_SECONDS)
            return
        else:
            self._at_once = min(self._at_once + 1, _MOST_AT_ONCE)
        if taken:
            self._pause(_STEP_ASIDE_SECONDS)

    def _take(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        with contextlib.suppress(OSError):  # the client has gone
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._loop.create_task(self._loop.connect_accepted_socket(self._make_protocol, connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
