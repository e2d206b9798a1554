"""One upscale in progress or finished: its state, and a way to wait for a change of it."""

import asyncio
import time
from collections.abc import Callable

from app.service.job_snapshot import LAST_STATES, JobError, JobSnapshot, Made, State
from app.service.pipeline import Order, Upscaled
from app.service.stages import Stages
from app.service.webhooks import Hook


class Job:
    """Lives on the event loop. `Jobs` moves it from state to state."""

    def __init__(
        self,
        order: Order,
        stages: Stages,
        clock: Callable[[], float] = time.monotonic,
        hook: Hook | None = None,
    ) -> None:
        """Starts as queued, without a tile count. `clock` is in seconds; `hook` is the webhook for its end."""
        self.order = order
        self.stages = stages
        self.state: State = "queued"
        self.done_tiles = 0
        self.total_tiles = 0
        self.version = 1
        self.error: JobError | None = None
        self.levels: tuple[int, ...] = ()
        self.made: Made | None = None
        self.ended: float | None = None
        self.task: asyncio.Task[Upscaled] | None = None
        self.hook = hook
        if hook is not None:
            hook.on_change = self._touch
        self._clock = clock
        self._first: tuple[int, float] | None = None  # tiles of the first progress, and its time
        self._changed = asyncio.Event()

    def progress(self, done: int, total: int) -> None:
        """`done` of `total` tiles are ready."""
        if done and self._first is None:
            self._first = (done, self._clock())
        self.done_tiles, self.total_tiles = done, total
        self.move("running" if done else "queued")

    def move(self, state: State) -> None:
        """Enters `state`, and wakes everything that waits for a change."""
        self.state = state
        if state in LAST_STATES:
            self.ended = self._clock()
        self._touch()

    def _touch(self) -> None:
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    @property
    def finished(self) -> bool:
        """Whether nothing will change any more."""
        return self.ended is not None

    @property
    def seconds_left(self) -> float | None:
        """Extrapolated from the rate so far; None before the first tiles are done, and after the end."""
        if self.finished or self._first is None:
            return None
        began_with, began_at = self._first
        elapsed, done = self._clock() - began_at, self.done_tiles - began_with
        return elapsed / done * (self.total_tiles - self.done_tiles) if done > 0 and elapsed > 0 else None

    def snapshot(self) -> JobSnapshot:
        """The current state, as shown to clients."""
        left = self.seconds_left
        return JobSnapshot(
            version=self.version,
            id=self.order.result_id,
            request_id=self.order.request_id,
            state=self.state,
            done_tiles=self.done_tiles,
            total_tiles=self.total_tiles,
            seconds_left=None if left is None else round(left, 2),
            levels=self.levels,
            made=self.made,
            error=self.error,
            webhook=None if self.hook is None else self.hook.state,
        )

    async def changed(self, since: int, seconds: float) -> bool:
        """Waits until `version` differs from `since`, at most `seconds`; False if that time passed."""
        try:
            async with asyncio.timeout(seconds):
                while self.version == since:
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True
