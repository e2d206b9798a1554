"""The files of one picture, one a level, written while the network works on the rows further down."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from app.codec import Codec, Decoded, EncodeOptions, StreamEncoder
from app.engine import Plane, discard_rows
from app.results import StoredPicture
from app.service.codec_threads import SMALL_PIXELS, CodecThreads

T = TypeVar("T")
Outputs = Sequence[dict[int, Plane]]


@dataclass(frozen=True, slots=True)
class File:
    """A finished level, and how long its two stages took in seconds."""

    picture: StoredPicture
    merge_seconds: float
    encode_seconds: float


class LevelWriter:
    """Belongs to the event loop that makes it; its work is done by `threads`, the levels side by side."""

    def __init__(self, codec: Codec, decoded: Decoded, options: EncodeOptions, threads: CodecThreads) -> None:
        """`options` have been checked for `decoded`."""
        self._codec, self._decoded, self._options, self._threads = codec, decoded, options, threads
        self._encodings: dict[int, StreamEncoder] = {}
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
        if self._pixels(max(outputs[0])) > SMALL_PIXELS:
            self._rows = self._decoded.height
            await self._follow(outputs)
        return await self._for_each_level(outputs, lambda level: self._in_thread(self._finish, outputs, level))

    @property
    def busy(self) -> bool:
        """Whether rows are being written."""
        return self._under_way is not None and not self._under_way.done()

    def close(self) -> None:
        """Does nothing more. What runs in a thread ends by itself."""
        if self._under_way is not None:
            self._under_way.cancel()

    async def _follow(self, outputs: Outputs) -> None:
        """Catch up with the rows that are there."""
        await self._for_each_level(outputs, lambda level: self._catch_up(outputs, level))
        self._under_way = None

    async def _catch_up(self, outputs: Outputs, level: int) -> None:
        """Write band after band, each a piece of work of its own, so that others come between."""
        while await self._in_thread(self._band, outputs, level):
            pass

    async def _for_each_level(self, outputs: Outputs, work: Callable[[int], Awaitable[T]]) -> dict[int, T]:
        levels = sorted(outputs[0])
        made = await asyncio.gather(*(work(level) for level in levels))
        return dict(zip(levels, made, strict=True))

    async def _in_thread(self, work: Callable[[Outputs, int], T], outputs: Outputs, level: int) -> T:
        return await self._threads.run(lambda: work(outputs, level), self._pixels(level))

    def _pixels(self, level: int) -> int:
        """Of the result."""
        return self._decoded.height * self._decoded.width * level**2

    def _encoding(self, level: int) -> StreamEncoder:
        """Made in the thread that first needs it; a level has one thread at a time."""
        if level not in self._encodings:
            self._encodings[level] = self._codec.encoding(self._decoded, level, self._options)
        return self._encodings[level]

    def _band(self, outputs: Outputs, level: int) -> bool:
        """Write the next band, and let go of what it was made of; False if it is not there yet."""
        encoding = self._encoding(level)
        wrote = encoding.advance(self._decoded.by_frame(outputs, level), self._rows)
        if wrote:
            for planes in outputs:
                discard_rows(planes[level], 0, encoding.rows * level)
        return wrote

    def _finish(self, outputs: Outputs, level: int) -> File:
        encoded = self._encoding(level).finish(self._decoded.by_frame(outputs, level))
        picture = StoredPicture.of(encoded.body, encoded.media_type)
        return File(picture, encoded.merge_seconds, encoded.encode_seconds)
