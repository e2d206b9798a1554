"""Bytes of pictures on their way to clients: those that are read slowly or not at all cannot fill the memory."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from app.errors import QueueFull, TooManyRequests
from app.shares import Shares

_GRACE_SECONDS = 5.0
"""An answer's pace says nothing before."""
_LOOK_SECONDS = 1.0
"""Paces are looked at no more often: with a thousand answers that takes milliseconds, and a flood may be refused."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads an answer: how many bytes it has taken so far, of this answer and those before, and how to end it."""

    taken: Callable[[], int]
    cut_off: Callable[[], None]


@dataclass(frozen=True, slots=True, eq=False)
class _Answer:
    """An answer of `count` bytes that is being sent; its reader had taken `before` when it began."""

    client: str
    count: int
    reader: Reader
    began: float
    before: int

    def seconds(self, now: float) -> float:
        """How long all of it takes at its pace until now."""
        return (now - self.began) * self.count / max(1, self.reader.taken() - self.before)


class AnswerBudget:
    """A ceiling for all clients together, which they share; one alone may have half. Lives on the event loop.

    A client's first answer may take all that is free, and one that is larger than the ceiling is let through when
    nothing else is counted. If there is no room, slow answers are cut off, the slowest first: otherwise clients at many
    addresses, each reading a byte now and then, keep everybody out. Who has slow answers and holds no more than whoever
    asks is left alone.
    """

    def __init__(self, max_bytes: int, slow_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`max_bytes` is the ceiling; an answer that takes more than `slow_seconds` at its pace is slow."""
        self._max_bytes, self._slow_seconds, self._clock = max_bytes, slow_seconds, clock
        self._shares = Shares(max_bytes // 2, max_bytes)
        self._answers: dict[_Answer, None] = {}
        self._slow: list[_Answer] = []  # the slowest first, as of the last look
        self._looked_at = -math.inf

    @property
    def held_bytes(self) -> int:
        """Bytes counted in and not yet out."""
        return self._shares.total

    def hold(self, client: str, count: int, reader: Reader | None = None) -> Callable[[], None]:
        """Counts `count` bytes for `client`; the returned call, made once, counts them out.

        With 0 it only asks for room, before any work is done. Without a `reader` they are not cut off. Raises
        TooManyRequests or QueueFull.
        """
        while refusal := self._refusal(client, count):
            if not self._cut_off_slowest(client):
                raise refusal
        self._shares.add(client, count)
        if reader is None:
            return lambda: self._shares.remove(client, count)
        answer = _Answer(client, count, reader, self._clock(), reader.taken())
        self._answers[answer] = None
        return lambda: self._release(answer)

    def _refusal(self, client: str, count: int) -> TooManyRequests | QueueFull | None:
        own = self._shares.of(client)
        if own and count > self._shares.room(client):
            return TooManyRequests(
                f"{own} bytes of your answers have not been read yet, which leaves no room for another one. "
                "Read them first.",
                retry_after=2.0,
            )
        if self.held_bytes and count > self._max_bytes - self.held_bytes:
            return QueueFull("Too many answers are waiting to be read. Try again in a few seconds.", retry_after=5.0)
        return None

    def _cut_off_slowest(self, client: str) -> bool:
        """Whether there was an answer to cut off, for this client."""
        self._look()
        own = self._shares.of(client)
        for answer in self._slow:
            if answer in self._answers and self._shares.of(answer.client) > own:
                self._release(answer)
                answer.reader.cut_off()
                return True
        return False

    def _look(self) -> None:
        """Finds the slow answers, unless that was done just now."""
        now = self._clock()
        if now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            seconds = {each: each.seconds(now) for each in self._answers if now - each.began >= _GRACE_SECONDS}
            slow = (each for each in seconds if seconds[each] > self._slow_seconds)
            self._slow = sorted(slow, key=seconds.__getitem__, reverse=True)

    def _release(self, answer: _Answer) -> None:
        """Counts an answer out, unless that was done when it was cut off."""
        if answer in self._answers:
            del self._answers[answer]
            self._shares.remove(answer.client, answer.count)
