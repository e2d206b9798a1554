"""The threads that decode and encode: small pictures do not wait behind large ones, nor one client behind another."""

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
"""Results up to this size are small: their work takes milliseconds."""


class CodecThreads:
    """`count` threads for large pictures, which give way, and at least two for small ones: a level each.

    Clients take turns on them, piece by piece of work. That many are for one client; one thread of each kind more is
    kept for clients that have none, so that nobody waits for another client's long piece.
    """

    def __init__(self, count: int) -> None:
        """Raises StartupError if the system allows too few threads."""
        self._small = _Lane(max(2, count), "codec-small")
        self._large = _Lane(count, "codec", give_way)

    async def run(self, work: Callable[[], T], pixels: int, client: str = "") -> T:
        """What `work` returns or raises, for a result of so many pixels. Cancelling does not stop what has begun."""
        lane = self._small if pixels <= SMALL_PIXELS else self._large
        return await asyncio.wrap_future(lane.submit(client, work))

    async def close(self) -> None:
        """Waits for what has begun; what has not is cancelled."""
        for lane in (self._small, self._large):
            await asyncio.to_thread(lane.close)


class _Piece(Generic[T]):
    """Work that waits for a thread."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self.future: Future[T] = Future()

    def run(self) -> None:
        """Does it, unless it was cancelled."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self._work()
        except BaseException as error:
            self.future.set_exception(error)
            self = None  # type: ignore[assignment]  # or error, its traceback and the future would hold each other
        else:
            self.future.set_result(result)


class _Lane:
    """Threads of one kind, and who waits for them."""

    def __init__(self, count: int, name: str, initializer: Callable[[], None] | None = None) -> None:
        self._executor = started(ThreadPoolExecutor(count + 1, name, initializer), count + 1)
        self._seats: Seats[_Piece[object]] = Seats(count)
        self._lock = Lock()

    def submit(self, client: str, work: Callable[[], T]) -> Future[T]:
        piece = _Piece(work)
        with self._lock:
            self._seats.wait(client, piece)  # type: ignore[arg-type]  # whoever takes it needs not know its result
        self._executor.submit(self._serve)
        return piece.future

    def close(self) -> None:
        with self._lock:
            waiting = self._seats.clear()
        for piece in waiting:
            piece.future.cancel()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _serve(self) -> None:
        """Runs what waits, until nothing does that may have a thread.

        Each piece that is queued starts one such loop, and a piece that had to wait is taken by the loop of whoever
        made room for it.
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
