"""One result on its way into a file, from the top down while the network still works on what is below."""

import time
from collections.abc import Sequence
from concurrent.futures import Executor
from fractions import Fraction

import numpy as np

from app.codec.formats import WRITERS, Stream
from app.codec.formulas import Formulas
from app.codec.merge import Merger
from app.codec.metadata import fitted
from app.codec.raster import Raster
from app.codec.shrink import Shrinker
from app.codec.types import Decoded, Encoded, Metadata, Plane, Samples
from app.formats import OUTPUT_FORMATS
from app.options import UpscaleOptions

_STRIP = 64  # source rows


class StreamEncoder:
    """Merges and encodes one result. Not for several threads at once.

    `planes[frame]` holds `decoded.frames[frame].planes` enlarged `scale` times.

    A large PNG is merged and compressed in bands as its rows come, and needs its planes no longer than that; anything
    else is made at the end.
    """

    def __init__(
        self,
        decoded: Decoded,
        scale: int,
        options: UpscaleOptions,
        formulas: Formulas,
        executor: Executor | None,
        *,
        size: tuple[int, int] | None = None,
        consistent: bool = True,
    ) -> None:
        """`executor` is for merging and for PNG; `size` (height, width) is the result's if it is not that of the level.

        `consistent`: see Merger.
        """
        self._decoded, self._scale, self._options, self._executor = decoded, scale, options, executor
        whole = decoded.height * scale, decoded.width * scale
        self._height, self._width = size or whole
        self._format = OUTPUT_FORMATS[options.output_format]
        depth = decoded.depth_in(self._format)
        merged = depth if size is None else None
        self._mergers = [
            Merger(picture, scale, merged, formulas, consistent=consistent, cleaned=options.cleans)
            for picture in decoded.frames
        ]
        self._shrinkers = [Shrinker(whole, size, depth, formulas) for _ in decoded.frames] if size else []
        self._reach = self._mergers[0].reach
        self._metadata = metadata_of(decoded, scale, size, options)
        shape = (self._height, self._width, decoded.frames[0].channels, depth // 8)
        self._writer = WRITERS[options.output_format]
        self._stream: Stream | None = None
        if self._writer.stream is not None and len(decoded.frames) == 1:
            self._stream = self._writer.stream(*shape, self._metadata)
        self._waiting: list[Samples] = []
        self._rows = 0
        self.merge_seconds = self.encode_seconds = 0.0
        """Wall time so far."""

    def advance(self, planes: Sequence[Sequence[Plane]], rows: int) -> bool:
        """Takes the next band of source rows [0, rows), which are complete; False if none can be taken.

        A band also needs a few rows below its own.
        """
        if self._stream is None:
            return False
        bottom = min(self._rows + max(1, self._stream.band // self._scale), self._decoded.height)
        needed = min(bottom + self._reach[1], self._decoded.height)
        if not self._rows < bottom <= needed <= rows:
            return False
        samples = self._merged(planes, self._rows, bottom)
        began = time.perf_counter()
        if self._shrinkers:
            self._add_in_bands(self._stream, samples[0], last=bottom == self._decoded.height)
        else:
            self._stream.add(samples[0], self._executor)
        self.encode_seconds += time.perf_counter() - began
        self._rows = bottom
        return True

    def _add_in_bands(self, stream: Stream, samples: Samples, last: bool) -> None:
        """Passes on whole bands of rows that come in other portions; at the end, the rest."""
        self._waiting.append(samples)
        if not last and sum(map(len, self._waiting)) < stream.band:
            return
        rows = np.concatenate(self._waiting)
        end = len(rows) if last else len(rows) // stream.band * stream.band
        for at in range(0, end, stream.band):
            stream.add(rows[at : min(at + stream.band, end)], self._executor)
        self._waiting = [rows[end:]]

    @property
    def rows(self) -> int:
        """Source rows [0, rows) are no longer needed."""
        return max(0, self._rows - self._reach[0])

    def finish(self, planes: Sequence[Sequence[Plane]]) -> Encoded:
        """The file; every row is there."""
        if self._stream is not None:
            while self.advance(planes, self._decoded.height):
                pass
            began = time.perf_counter()
            body = self._stream.finish()
        else:
            frames = self._whole(planes)
            began = time.perf_counter()
            durations, loop = self._decoded.durations_ms, self._decoded.loop
            raster = Raster(tuple(frames), self._format.title, self._metadata, durations, loop)
            body = self._writer.write(raster, self._options, self._executor)
        self.encode_seconds += time.perf_counter() - began
        return Encoded(body, self._format.media_type)

    def _whole(self, planes: Sequence[Sequence[Plane]]) -> list[Samples]:
        """Every frame, reduced in strips if it has another size, as values take four times the memory of samples."""
        height, step = self._decoded.height, _STRIP if self._shrinkers else self._decoded.height
        strips = [self._merged(planes, top, min(top + step, height)) for top in range(0, height, step)]
        return [np.concatenate(parts) if len(parts) > 1 else parts[0] for parts in zip(*strips, strict=True)]

    def _merged(self, planes: Sequence[Sequence[Plane]], first: int, last: int) -> list[Samples]:
        began = time.perf_counter()
        frames = [
            merger.rows(enlarged, first, last, self._executor)
            for merger, enlarged in zip(self._mergers, planes, strict=True)
        ]
        if self._shrinkers:
            frames = [shrinker.add(values) for shrinker, values in zip(self._shrinkers, frames, strict=True)]
        self.merge_seconds += time.perf_counter() - began
        return frames


def metadata_of(decoded: Decoded, scale: int, size: tuple[int, int] | None, options: UpscaleOptions) -> Metadata:
    """What is written with a result at this scale, or of this size (height, width) if there is one."""
    factor: int | Fraction = scale
    if size is None:
        size = decoded.height * scale, decoded.width * scale
    else:
        factor = Fraction(size[1], decoded.width).limit_denominator(1000)
    return fitted(decoded.metadata, factor, *size, options.output_format)
