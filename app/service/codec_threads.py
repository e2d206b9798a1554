"""Thread pools for decoding and encoding: small pictures do not wait behind large ones, nor one client for another."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Generic, TypeVar

from app.codec import give_way
from app.process.threads import started
from app.turns import Seats

T = TypeVar("T")
SMALL_PIXELS = 2**20
"""Results of up to this many pixels count as small: their work takes milliseconds."""


class CodecThreads:
    """`count` low-priority threads for large pictures, and at least two for small ones: one per level.

    Clients take turns, one piece of work at a time. A single client can occupy all of these threads; each pool has one
    more, reserved for clients that occupy none, so that nobody waits for another client's long piece of work.
    """

    def __init__(self, count: int) -> None:
        """Raises StartupError if the system allows too few threads."""
        self._small = _Lane(max(2, count), "codec-small")
        self._large = _Lane(count, "codec", give_way)

    async def run(self, work: Callable[[], T], pixels: int, client: str = "") -> T:
        """Returns or raises what `work` does. `pixels` is the size of the result and decides the pool.

        Cancelling has no effect on work that has started.
        """
        lane = self._small if pixels <= SMALL_PIXELS else self._large
        return await asyncio.wrap_future(lane.submit(client, work))

    async def close(self) -> None:
        """Waits for work that has started, and cancels the rest."""
        for lane in (self._small, self._large):
            await asyncio.to_thread(lane.close)


class _Piece(Generic[T]):
    """A piece of work, and the future for its result."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self.future: Future[T] = Future()

    def run(self) -> None:
        """Runs the work and settles the future, unless it was cancelled."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self._work()
        except BaseException as error:
            self.future.set_exception(error)
            self = None  # type: ignore[assignment]  # breaks the cycle of error, traceback frame and future
        else:
            self.future.set_result(result)


class _Lane:
    """One thread pool and its queue."""

    def __init__(self, count: int, name: str, initializer: Callable[[], None] | None = None) -> None:
        self._executor = started(ThreadPoolExecutor(count + 1, name, initializer), count + 1)
        self._seats: Seats[_Piece[object]] = Seats(count)
        self._lock = Lock()

    def submit(self, client: str, work: Callable[[], T]) -> Future[T]:
        piece = _Piece(work)
        with self._lock:
            self._seats.wait(client, piece)  # type: ignore[arg-type]  # the pool does not look at the result
        self._executor.submit(self._serve)
        return piece.future

    def close(self) -> None:
        with self._lock:
            waiting = self._seats.clear()
        for piece in waiting:
            piece.future.cancel()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _serve(self) -> None:
        """Runs queued pieces until none is left that may have a thread.

        Every submitted piece starts one such loop. A piece that has to wait is picked up by the loop that frees a seat.
        """
        while True:
            with self._lock:
                found = self._seats.take()
            if found is None:
                return
            client, piece = found
            try:
                piece.run()
            finally:
                del found, piece
                with self._lock:
                    self._seats.leave(client)
