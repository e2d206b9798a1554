"""Admits requests and hands out their tiles: which wait, which holder has which. Thread-safe, without asyncio."""

import threading
import time
from collections.abc import Callable, Hashable, Iterable

from app.engine.config import EngineConfig
from app.engine.fair import FairQueue
from app.engine.rate import WorkRate
from app.engine.request import Request, Tile
from app.engine.tiles import Shape
from app.errors import Draining, InferenceFailed
from app.shares import Shares


class Scheduler:
    """Admits requests, hands out batches, and counts both.

    A holder takes batches; each worker thread is one. It holds a tile until it reports it as finished or failed.
    `release` takes all tiles from a holder, and later reports of it are ignored.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._changed = threading.Condition(threading.Lock())
        self._queue = FairQueue()
        self._held: dict[Hashable, set[Tile]] = {}
        self._requests: dict[Request, None] = {}
        self._tiles, self._bytes = Shares(config.max_tiles), Shares(config.max_bytes)
        self._work = 0
        """The work of all tiles that wait or are held."""
        self.idle = 0
        """Holders that wait for a batch."""
        self._rate = WorkRate()
        self._draining = False
        self._closed = False

    def admit(self, request: Request) -> None:
        """Queues a request's tiles.

        Raises Draining, and QueueFull or TooManyRequests if its client has no room for its tiles or bytes; see Shares.
        A request that alone exceeds a limit is admitted when no other is in progress.
        """
        with self._changed:
            self._check(request.client, len(request.tiles), request.bytes)
            request.admitted_at = time.monotonic()
            self._requests[request] = None
            self._bytes.add(request.client, request.bytes)
            self._tiles.add(request.client, len(request.tiles))
            self._work += _work_of(request.tiles)
            self._queue.add(request.tiles)
            request.tiles = []
            self._changed.notify_all()

    def check(self, client: str, tiles: int, size: int) -> None:
        """Raises what `admit` would for a request of so many tiles and bytes, before they are made."""
        with self._changed:
            self._check(client, tiles, size)

    def _check(self, client: str, tiles: int, size: int) -> None:
        """See `check`; for callers that hold the lock."""
        if self._draining:
            raise Draining("the service is shutting down; send the request again, to another instance or later")
        surplus_tiles = tiles - self._tiles.room(client)
        surplus_bytes = size - self._bytes.room(client)
        if not self._requests or (surplus_tiles <= 0 and surplus_bytes <= 0):
            return
        wait = self._seconds_until_done(surplus_tiles, surplus_bytes)
        scarce = self._tiles if surplus_tiles > 0 else self._bytes
        unfit = f"this picture's {tiles} tiles and {size >> 20} MiB do not fit"
        limits = f"{self._config.max_tiles} tiles and {self._config.max_bytes >> 20} MiB"
        retry = f"try again in {wait:.0f} s"
        raise scarce.refusal(
            client,
            f"{self._tiles.total} tiles and {self._bytes.total >> 20} MiB are under way, and {unfit} below the limits "
            f"of {limits}, which all clients share; {retry}",
            f"{self._tiles.of(client)} tiles and {self._bytes.of(client) >> 20} MiB of yours are under way, and "
            f"{unfit} into your share while other clients are here; {retry}, or send fewer at once",
            retry_after=wait,
        )

    def _seconds_until_done(self, tiles: int, size: int) -> float:
        """Estimated seconds, at least 1, until so many of the tiles and bytes under way are done."""
        rate = self._rate.per_second()
        if not rate:
            return max(1.0, self._config.retry_seconds)
        part = max(tiles / max(1, self._tiles.total), size / max(1, self._bytes.total))
        return max(1.0, min(1.0, part) * self._work / rate)

    def enlist(self, holder: Hashable) -> None:
        """Registers a holder, which may take batches until it is released."""
        with self._changed:
            self._held[holder] = set()

    def take(self, holder: Hashable, limit: Callable[[Shape], int]) -> list[Tile] | None:
        """Waits for work and returns a batch; None once the scheduler is closed or the holder is released.

        Work-conserving: tiles are handed out at once, divided among idle holders, and never wait for a batch to fill.
        """
        with self._changed:
            while True:
                if self._closed or holder not in self._held:
                    return None
                batch = self._queue.take(limit, takers=self.idle + 1)
                if batch:
                    break
                self.idle += 1
                self._changed.wait()
                self.idle -= 1
            now = time.monotonic()
            for tile in batch:
                tile.request.held += 1
                if tile.request.started_at is None:
                    tile.request.started_at = now
            self._held[holder].update(batch)
            return batch

    def finished(self, holder: Hashable, tiles: Iterable[Tile], seconds: float | None = None) -> None:
        """Counts tiles that the holder is done with; `seconds` is their computing time, None if they were skipped."""
        with self._changed:
            taken = self._take_back(holder, tiles)
            if taken and seconds is not None:
                self._rate.add(holder, _work_of(taken), seconds)
            touched: dict[Request, tuple[int, int, int]] = {}
            settled = []
            for tile in taken:
                request = tile.request
                if request.closed:
                    continue
                request.wrote(tile)
                touched[request] = request.total - request.remaining, request.total, request.rows
                if not request.remaining:
                    request.finished_at = time.monotonic()
                    self._close(request)
                    settled.append(request)
            self._forget_ended(tile.request for tile in taken)
        for request, progress in touched.items():
            request.listener.progressed(*progress)
        for request in settled:
            request.listener.settled(None)

    def failed(self, holder: Hashable, tile: Tile, error: Exception) -> None:
        """Fails the tile's request."""
        with self._changed:
            taken = self._take_back(holder, [tile])
            settled = [each.request for each in taken if self._close(each.request)]
            self._forget_ended(each.request for each in taken)
        for request in settled:
            request.listener.settled(error)

    def release(self, holder: Hashable, cause: BaseException | None = None) -> None:
        """Removes a dead or hung holder, and queues its tiles again, each at its place in its request.

        A request whose tile was held by too many such holders fails with InferenceFailed.
        """
        with self._changed:
            taken = self._take_back(holder, list(self._held.get(holder, ())))
            self._held.pop(holder, None)
            self._rate.forget(holder)
            settled = []
            for tile in taken:
                tile.failed_attempts += 1
                if tile.failed_attempts >= self._config.max_failed_attempts and self._close(tile.request):
                    settled.append(tile.request)
            requeued = [tile for tile in taken if not tile.request.closed]
            for tile in requeued:
                self._tiles.add(tile.request.client)
            self._work += _work_of(requeued)
            self._queue.add(requeued)
            self._forget_ended(tile.request for tile in taken)
            self._changed.notify_all()
        for request in settled:
            error = InferenceFailed(f"{self._config.max_failed_attempts} workers went down with a tile of this picture")
            error.__cause__ = cause
            request.listener.settled(error)

    def withdraw(self, request: Request) -> None:
        """Takes a request's tiles out of the queue; tiles that holders have are not written any more. Idempotent."""
        with self._changed:
            self._close(request)
            self._forget_ended([request])

    def oldest_first(self) -> None:
        """From now on, finishes requests in order of admission, as there may not be enough time for all."""
        with self._changed:
            self._queue.oldest_first = True

    def drain(self) -> None:
        """Admits nothing from now on, and finishes what was admitted, oldest first."""
        with self._changed:
            self._draining = self._queue.oldest_first = True

    def close(self) -> None:
        """Drains, and makes every `take` return None."""
        with self._changed:
            self._draining = self._closed = True
            self._changed.notify_all()

    @property
    def draining(self) -> bool:
        """Whether requests are refused because the service is shutting down."""
        return self._draining

    @property
    def requests(self) -> int:
        """Requests in progress, or of which a holder still has tiles."""
        return len(self._requests)

    @property
    def in_flight(self) -> int:
        """Tiles that holders have."""
        with self._changed:
            return sum(map(len, self._held.values()))

    @property
    def bytes_under_way(self) -> int:
        """Bytes of the input and output planes of these requests."""
        return self._bytes.total

    def backlog_seconds(self) -> float:
        """Estimated time for all admitted work, at the measured rate; 0 before the first batch."""
        with self._changed:
            rate = self._rate.per_second()
            return self._work / rate if rate else 0.0

    def waiting(self) -> tuple[int, float]:
        """(waiting tiles, seconds for which the oldest request that no worker has begun has waited).

        A large picture's last tiles wait for its first ones, while others take turns with it: that is no backlog.
        """
        with self._changed:
            oldest = next((request for request in self._requests if request.started_at is None), None)
            return self._queue.tiles, time.monotonic() - oldest.admitted_at if oldest else 0.0

    def _take_back(self, holder: Hashable, tiles: Iterable[Tile]) -> list[Tile]:
        """Takes tiles from a holder; returns those that it did hold."""
        held = self._held.get(holder, set())
        taken = [tile for tile in tiles if tile in held]
        held.difference_update(taken)
        for tile in taken:
            tile.request.held -= 1
            self._tiles.remove(tile.request.client)
        self._work -= _work_of(taken)
        return taken

    def _close(self, request: Request) -> bool:
        """Ends a request; False if it had ended already."""
        if request.closed:
            return False
        request.closed = True
        self._tiles.remove(request.client, sum(map(len, request.pending.values())))
        self._work -= _work_of(request.waiting)
        self._queue.discard(request)
        return True

    def _forget_ended(self, requests: Iterable[Request]) -> None:
        """Stops counting those requests that have ended and of which no holder has tiles."""
        for request in requests:
            if request.closed and not request.held and request in self._requests:
                del self._requests[request]
                self._bytes.remove(request.client, request.bytes)


def _work_of(tiles: Iterable[Tile]) -> int:
    return sum(tile.shape.work for tile in tiles)
