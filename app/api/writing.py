"""The files of one picture, one a level, written while the network works on the rows further down."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from app.codec import Codec, Decoded, EncodeOptions, Encoding
from app.engine import Plane, discard_rows
from app.results import StoredPicture

T = TypeVar("T")
Outputs = Sequence[dict[int, Plane]]


class InThread(Protocol):
    """Runs work in another thread."""

    def __call__(self, work: Callable[[], T]) -> Awaitable[T]:
        """What `work` returns or raises."""
        ...


@dataclass(frozen=True, slots=True)
class File:
    """A finished level, and how long its two stages took in seconds."""

    picture: StoredPicture
    merge_seconds: float
    encode_seconds: float


class Writing:
    """Belongs to the event loop that makes it; its work is done by `in_thread`, the levels side by side."""

    def __init__(self, codec: Codec, decoded: Decoded, options: EncodeOptions, in_thread: InThread) -> None:
        """`options` have been checked for `decoded`."""
        self._codec, self._decoded, self._options, self._in_thread = codec, decoded, options, in_thread
        self._encodings: dict[int, Encoding] = {}
        self._rows = 0
        self._under_way: asyncio.Task[None] | None = None

    def advance(self, rows: int, outputs: Outputs) -> None:
        """Source rows [0, rows) of every plane are there; what is not needed any more of them is used up.

        The last rows are left to `finish`, which comes at once.
        """
        if self._rows < rows < self._decoded.height:
            self._rows = rows
            if self._under_way is None:
                self._under_way = asyncio.create_task(self._follow(outputs))
                # Told by `finish`; a picture that fails otherwise meanwhile must not be told of this as well.
                self._under_way.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def finish(self, outputs: Outputs) -> dict[int, File]:
        """Every level's file. Raises what making it raised."""
        if self._under_way is not None:
            await self._under_way
        return await self._for_each_level(outputs, partial(self._finish, outputs))

    @property
    def busy(self) -> bool:
        """Whether rows are being written."""
        return self._under_way is not None and not self._under_way.done()

    def close(self) -> None:
        """Does nothing more. What runs in a thread ends by itself."""
        if self._under_way is not None:
            self._under_way.cancel()

    async def _follow(self, outputs: Outputs) -> None:
        """Catch up with the rows that are there, until no more have come meanwhile."""
        done = 0
        while done < self._rows:
            done = self._rows
            await self._for_each_level(outputs, partial(self._advance, outputs, done))
        self._under_way = None

    async def _for_each_level(self, outputs: Outputs, work: Callable[[int], T]) -> dict[int, T]:
        levels = sorted(outputs[0])
        made = await asyncio.gather(*(self._in_thread(partial(work, level)) for level in levels))
        return dict(zip(levels, made, strict=True))

    def _encoding(self, level: int) -> Encoding:
        """Made in the thread that first needs it; a level has one thread at a time."""
        if level not in self._encodings:
            self._encodings[level] = self._codec.encoding(self._decoded, level, self._options)
        return self._encodings[level]

    def _advance(self, outputs: Outputs, rows: int, level: int) -> None:
        done = self._encoding(level).advance(self._decoded.by_frame(outputs, level), rows)
        for planes in outputs:
            discard_rows(planes[level], 0, done * level)

    def _finish(self, outputs: Outputs, level: int) -> File:
        encoded = self._encoding(level).finish(self._decoded.by_frame(outputs, level))
        picture = StoredPicture.of(encoded.body, encoded.media_type)
        return File(picture, encoded.merge_seconds, encoded.encode_seconds)
