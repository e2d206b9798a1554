"""Passes a request's end and its throttled progress from worker threads to the event loop."""

import asyncio
import logging
import time
from collections.abc import Callable

_log = logging.getLogger(__name__)


class LoopBridge:
    """The Listener of one request; `finished` is a future of the loop in which the bridge was created."""

    def __init__(
        self, on_progress: Callable[[int, int, int], None] | None = None, interval_seconds: float = 0.0
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.finished: asyncio.Future[None] = self._loop.create_future()
        self._on_progress = on_progress
        self._interval = interval_seconds
        self._last = time.monotonic()
        self._progress = self._reported = (0, 0, 0)
        self._scheduled = False

    def progressed(self, done: int, total: int, rows: int) -> None:
        """Schedules a report on the loop, from any thread: at once when all is done, else when the interval is over."""
        if self._on_progress is None:
            return
        self._progress = max(self._progress, (done, total, rows))
        if done == total:
            self._call(self._report)
        elif not self._scheduled:
            self._scheduled = True
            self._call(self._report_in_time)

    def settled(self, error: Exception | None) -> None:
        """Settles `finished`, from any thread."""
        self._call(self._settle, error)

    def close(self) -> None:
        """Stops reporting, and drops the callback.

        Callback and request refer to each other, which would keep every plane until the garbage collector runs.
        """
        self._on_progress = None

    def _call(self, callback: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            _log.debug("a request ended after its event loop was closed")

    def _report_in_time(self) -> None:
        self._loop.call_later(max(0.0, self._last + self._interval - time.monotonic()), self._report)

    def _report(self) -> None:
        self._scheduled, self._last = False, time.monotonic()
        progress = self._progress
        if self._on_progress is None or self.finished.done() or progress == self._reported:
            return
        self._reported = progress
        try:
            self._on_progress(*progress)
        except Exception:
            _log.exception("a progress callback failed; the request continues")

    def _settle(self, error: Exception | None) -> None:
        if self.finished.done():
            return
        if error is None:
            self.finished.set_result(None)
        else:
            self.finished.set_exception(error)
