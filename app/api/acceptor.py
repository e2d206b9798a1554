"""Accepts connections from a socket that several processes share."""

import asyncio
import contextlib
import socket
from collections.abc import Callable

_STEP_ASIDE_SECONDS = 0.002
"""Pause after each turn, which leaves the next one to another process."""
_MAX_AT_ONCE = 64
"""Maximum number of connections accepted in one turn."""
_PAUSE_SECONDS = 1.0
"""Pause after a failure to accept, for example for lack of file descriptors."""


class Acceptor:
    """Accepts one connection, then leaves the next one to other processes for a moment.

    asyncio's own server accepts all waiting connections, so the first process to wake would get every client of a
    burst, and keep them. Here the processes share them, and a busy one accepts fewer. While connections remain waiting,
    each turn accepts one more than the last, so that a client that opens many cannot keep the queue full for others.
    Has the methods of asyncio.Server that uvicorn calls.
    """

    def __init__(self, listener: socket.socket, make_protocol: Callable[[], asyncio.Protocol]) -> None:
        """Starts at once, on the running loop; does not close `listener`."""
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._make_protocol = make_protocol
        self._tasks: set[asyncio.Task[object]] = set()
        self._paused: asyncio.TimerHandle | None = None
        self._at_once = 1
        listener.setblocking(False)
        self._resume()

    def close(self) -> None:
        """Accepts no more connections; those that were accepted stay open."""
        if self._paused is not None:
            self._paused.cancel()
        self._loop.remove_reader(self._listener)

    async def wait_closed(self) -> None:
        """Waits until every accepted connection has its protocol."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _resume(self) -> None:
        self._paused = None
        self._loop.add_reader(self._listener, self._accept)

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener)
        self._paused = self._loop.call_later(seconds, self._resume)

    def _accept(self) -> None:
        accepted = 0
        try:
            while accepted < self._at_once:
                self._connect(self._listener.accept()[0])
                accepted += 1
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            self._at_once = 1  # none is waiting, another process was faster, or the client is gone
        except OSError:
            self._pause(_PAUSE_SECONDS)
            return
        else:
            self._at_once = min(self._at_once + 1, _MAX_AT_ONCE)
        if accepted:
            self._pause(_STEP_ASIDE_SECONDS)

    def _connect(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        with contextlib.suppress(OSError):  # the client is gone
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._loop.create_task(self._loop.connect_accepted_socket(self._make_protocol, connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
