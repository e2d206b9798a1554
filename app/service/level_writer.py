"""Writes the files of one picture, one per level, while the network computes the rows below."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from app.codec import Codec, Decoded, StreamEncoder
from app.engine import Outputs
from app.options import UpscaleOptions
from app.results import StoredPicture
from app.service.codec_threads import SMALL_PIXELS, CodecThreads

T = TypeVar("T")


class LevelWriter:
    """Used on the event loop that created it; `threads` do the work, for all levels in parallel."""

    def __init__(
        self,
        codec: Codec,
        decoded: Decoded,
        options: UpscaleOptions,
        levels: Sequence[int],
        threads: CodecThreads,
        client: str = "",
        size: tuple[int, int] | None = None,
        clean: str = "",
    ) -> None:
        """`options` have been checked for `decoded`; `levels` are those to write, ascending, for `client`.

        With `size` (height, width), there is one level, which is reduced to that size. `clean` is stored with the
        pictures, see StoredPicture.
        """
        self._size = size
        self._codec, self._decoded, self._options, self._threads = codec, decoded, options, threads
        self._client = client
        self._levels = tuple(levels)
        self._clean = clean
        self._encoders: dict[int, StreamEncoder] = {}
        self._rows = 0
        self._under_way: asyncio.Task[None] | None = None

    def advance(self, rows: int, outputs: Outputs) -> None:
        """Call when source rows [0, rows) of every plane are computed; releases outputs that are no longer needed.

        Leaves the last rows to `finish`, which follows at once.
        """
        if self._rows < rows < self._decoded.height:
            self._rows = rows
            for level in outputs[0].keys() - set(self._levels):
                outputs.release(level, rows)
            if self._under_way is None and self._in_bands:
                self._under_way = asyncio.create_task(self._follow(outputs))
                # `finish` raises the task's error; if the picture fails elsewhere first, asyncio must not log it too.
                self._under_way.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def finish(self, outputs: Outputs) -> dict[int, StoredPicture]:
        """The file of every level. Raises the errors of writing them."""
        if self._under_way is not None:
            await self._under_way
        if self._in_bands:
            self._rows = self._decoded.height
            await self._follow(outputs)
        return await self._for_each_level(lambda level: self._in_thread(self._finish, outputs, level))

    @property
    def _in_bands(self) -> bool:
        """Whether levels are written in bands; if even the largest is small, each is written in one piece."""
        return self._pixels(self._levels[-1]) > SMALL_PIXELS

    @property
    def merge_seconds(self) -> float:
        """Time spent on merging the largest level."""
        return self._encoders[self._levels[-1]].merge_seconds

    @property
    def encode_seconds(self) -> float:
        """Time spent on compressing the largest level."""
        return self._encoders[self._levels[-1]].encode_seconds

    @property
    def busy(self) -> bool:
        """Whether rows are being written."""
        return self._under_way is not None and not self._under_way.done()

    def close(self) -> None:
        """Starts no more work. Work that already runs in a thread is not interrupted."""
        if self._under_way is not None:
            self._under_way.cancel()

    async def _follow(self, outputs: Outputs) -> None:
        """Writes all bands that are complete."""
        await self._for_each_level(lambda level: self._catch_up(outputs, level))
        self._under_way = None

    async def _catch_up(self, outputs: Outputs, level: int) -> None:
        """Writes one band at a time, each as a separate piece of work, so that other pictures get turns in between."""
        while await self._in_thread(self._band, outputs, level):
            pass

    async def _for_each_level(self, work: Callable[[int], Awaitable[T]]) -> dict[int, T]:
        made = await asyncio.gather(*(work(level) for level in self._levels))
        return dict(zip(self._levels, made, strict=True))

    async def _in_thread(self, work: Callable[[Outputs, int], T], outputs: Outputs, level: int) -> T:
        return await self._threads.run(lambda: work(outputs, level), self._pixels(level), self._client)

    def _pixels(self, level: int) -> int:
        """The number of pixels of the result at this level."""
        return self._decoded.height * self._decoded.width * level**2

    def _encoder(self, level: int) -> StreamEncoder:
        """Created in the first thread that needs it; at most one thread at a time works on a level."""
        if level not in self._encoders:
            self._encoders[level] = self._codec.encoder(self._decoded, level, self._options, self._size)
        return self._encoders[level]

    def _band(self, outputs: Outputs, level: int) -> bool:
        """Writes the next band and releases its rows; False if the band is not complete yet."""
        encoder = self._encoder(level)
        wrote = encoder.advance(self._decoded.by_frame(outputs, level), self._rows)
        if wrote:
            outputs.release(level, encoder.rows)
        return wrote

    def _finish(self, outputs: Outputs, level: int) -> StoredPicture:
        encoded = self._encoder(level).finish(self._decoded.by_frame(outputs, level))
        return StoredPicture.of(encoded.body, encoded.media_type, self._clean)
