"""One result on its way into a file, from the top down while the network still works on what is below."""

import time
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Literal

from app.codec import png_writer, tiff_writer, writers
from app.codec.formulas import Formulas
from app.codec.merge import Merger
from app.codec.metadata import fitted
from app.codec.types import Decoded, Encoded, Plane, Samples
from app.options import UpscaleOptions

_DEEP = ("png", "tiff")


class StreamEncoder:
    """Not for several threads at once. `planes[frame]` holds `decoded.frames[frame].planes` enlarged `scale` times.

    A large PNG is merged and compressed in bands as its rows come, and needs its planes no longer than that; anything
    else is made at the end.
    """

    def __init__(
        self, decoded: Decoded, scale: int, options: UpscaleOptions, formulas: Formulas, executor: Executor | None
    ) -> None:
        """`executor` is for merging and for PNG."""
        self._decoded, self._scale, self._options, self._executor = decoded, scale, options, executor
        self._height, self._width = decoded.height * scale, decoded.width * scale
        depth: Literal[8, 16] = decoded.depth if options.output_format in _DEEP else 8
        self._mergers = [Merger(picture, scale, depth, formulas) for picture in decoded.frames]
        self._metadata = fitted(decoded.metadata, scale, self._height, self._width, options.output_format)
        shape = (self._height, self._width, decoded.frames[0].channels, depth // 8)
        streamed = options.output_format == "png" and len(decoded.frames) == 1 and png_writer.PngStream.pays(*shape)
        self._stream = png_writer.PngStream(*shape, self._metadata) if streamed else None
        self._rows = 0
        self.merge_seconds = self.encode_seconds = 0.0
        """Wall time so far."""

    def advance(self, planes: Sequence[Sequence[Plane]], rows: int) -> bool:
        """Takes the next band of source rows [0, rows), which are there; False if there is none to take."""
        if self._stream is None:
            return False
        bottom = min(self._rows + max(1, png_writer.BAND // self._scale), self._decoded.height)
        if not self._rows < bottom <= rows:
            return False
        samples = self._merged(planes, self._rows, bottom)
        began = time.perf_counter()
        self._stream.add(samples[0], self._executor)
        self.encode_seconds += time.perf_counter() - began
        self._rows = bottom
        return True

    @property
    def rows(self) -> int:
        """Source rows [0, rows) are needed no more."""
        return self._rows

    def finish(self, planes: Sequence[Sequence[Plane]]) -> Encoded:
        """The file; every row is there."""
        if self._stream is not None:
            while self.advance(planes, self._decoded.height):
                pass
            began = time.perf_counter()
            body = self._stream.finish()
        else:
            frames = self._merged(planes, 0, self._decoded.height)
            began = time.perf_counter()
            body = self._written(frames)
        self.encode_seconds += time.perf_counter() - began
        media_type = writers.MEDIA_TYPES[self._options.output_format]
        return Encoded(body, media_type)

    def _merged(self, planes: Sequence[Sequence[Plane]], first: int, last: int) -> list[Samples]:
        began = time.perf_counter()
        frames = [
            merger.rows(enlarged, first, last, self._executor)
            for merger, enlarged in zip(self._mergers, planes, strict=True)
        ]
        self.merge_seconds += time.perf_counter() - began
        return frames

    def _written(self, frames: list[Samples]) -> bytes:
        options, metadata, decoded = self._options, self._metadata, self._decoded
        target = options.output_format
        if target == "png":
            return png_writer.write(frames, metadata, decoded.durations_ms, decoded.loop, self._executor)
        if target == "webp":
            return writers.write_webp(frames, metadata, options, decoded.durations_ms, decoded.loop)
        if target == "tiff":
            return tiff_writer.write(frames[0], metadata)
        writer = writers.write_jpeg if target == "jpeg" else writers.write_avif
        return writer(frames[0], metadata, options)
