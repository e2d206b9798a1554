"""The files of one picture, one a level, written while the network works on the rows further down."""

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
    """Belongs to the event loop that makes it; its work is done by `threads`, the levels side by side."""

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

        With `size` (height, width), the one level is reduced to it. `clean` goes with the pictures, see StoredPicture.
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
        """Source rows [0, rows) of every plane are computed; what is no longer needed of them is released.

        The last rows are left to `finish`, which follows at once.
        """
        if self._rows < rows < self._decoded.height:
            self._rows = rows
            for level in outputs[0].keys() - set(self._levels):
                outputs.release(level, rows)
            if self._under_way is None and self._in_bands:
                self._under_way = asyncio.create_task(self._follow(outputs))
                # `finish` raises its error; if the picture fails otherwise first, asyncio must not log this one too.
                self._under_way.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def finish(self, outputs: Outputs) -> dict[int, StoredPicture]:
        """Every level's file. Raises what writing it raised."""
        if self._under_way is not None:
            await self._under_way
        if self._in_bands:
            self._rows = self._decoded.height
            await self._follow(outputs)
        return await self._for_each_level(lambda level: self._in_thread(self._finish, outputs, level))

    @property
    def _in_bands(self) -> bool:
        """Whether a level may be written in bands: small ones are in one piece in any format."""
        return self._pixels(self._levels[-1]) > SMALL_PIXELS

    @property
    def merge_seconds(self) -> float:
        """Time that merging the largest level took."""
        return self._encoders[self._levels[-1]].merge_seconds

    @property
    def encode_seconds(self) -> float:
        """Time that compressing the largest level took."""
        return self._encoders[self._levels[-1]].encode_seconds

    @property
    def busy(self) -> bool:
        """Whether rows are being written."""
        return self._under_way is not None and not self._under_way.done()

    def close(self) -> None:
        """Starts nothing more. Work that runs in a thread ends by itself."""
        if self._under_way is not None:
            self._under_way.cancel()

    async def _follow(self, outputs: Outputs) -> None:
        """Writes the bands that are complete."""
        await self._for_each_level(lambda level: self._catch_up(outputs, level))
        self._under_way = None

    async def _catch_up(self, outputs: Outputs, level: int) -> None:
        """Writes band after band, each as its own piece of work, so that other pictures get their turn in between."""
        while await self._in_thread(self._band, outputs, level):
            pass

    async def _for_each_level(self, work: Callable[[int], Awaitable[T]]) -> dict[int, T]:
        made = await asyncio.gather(*(work(level) for level in self._levels))
        return dict(zip(self._levels, made, strict=True))

    async def _in_thread(self, work: Callable[[Outputs, int], T], outputs: Outputs, level: int) -> T:
        return await self._threads.run(lambda: work(outputs, level), self._pixels(level), self._client)

    def _pixels(self, level: int) -> int:
        """Of the result."""
        return self._decoded.height * self._decoded.width * level**2

    def _encoder(self, level: int) -> StreamEncoder:
        """Made in the thread that first needs it; a level is only ever in one thread at a time."""
        if level not in self._encoders:
            self._encoders[level] = self._codec.encoder(self._decoded, level, self._options, self._size)
        return self._encoders[level]

    def _band(self, outputs: Outputs, level: int) -> bool:
        """Writes the next band and releases its rows; False if it is not complete yet."""
        encoder = self._encoder(level)
        wrote = encoder.advance(self._decoded.by_frame(outputs, level), self._rows)
        if wrote:
            outputs.release(level, encoder.rows)
        return wrote

    def _finish(self, outputs: Outputs, level: int) -> StoredPicture:
        encoded = self._encoder(level).finish(self._decoded.by_frame(outputs, level))
        return StoredPicture.of(encoded.body, encoded.media_type, self._clean)
