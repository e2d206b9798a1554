"""The codec as the rest of the service sees it: bytes to planes, and planes to bytes."""

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from app.codec import reader
from app.codec.formulas import Formulas
from app.codec.history.pixels import findings_of
from app.codec.limits import accepted_format, check_pixels
from app.codec.priority import give_way
from app.codec.raster import Raster
from app.codec.split import split
from app.codec.stream_encoder import StreamEncoder, metadata_of
from app.codec.types import Decoded, DecodeLimits, Encoded, Finding, Picture, Plane
from app.errors import BadParameter
from app.formats import DEFAULT_FORMAT, OUTPUT_FORMATS, OutputFormat, WritableFormat
from app.options import UpscaleOptions

Size = tuple[int, int]
"""(height, width)."""
Read = Callable[[bytes, UpscaleOptions, DecodeLimits, str], Raster]

_THREADED_PIXELS = 4 * 1024 * 1024
_WEBP_PLAYS, _WEBP_FRAME_MS, _WEBP_FILM_MS = 2**16 - 1, 2**24 - 1, 2_000_000_000


class Codec:
    """Decodes and encodes, one call at a time in the caller's thread; safe to call from several.

    `threads` is how many more threads a result of 4 megapixels or more may use for merging and for PNG. `read` makes
    samples of bytes: in this process unless another way is given (see app.codec.decoder_pool). Without `consistent`,
    results are what the planes say, and may be darker or brighter than their source where values are clipped.
    """

    def __init__(
        self,
        formulas: Formulas,
        limits: DecodeLimits,
        *,
        threads: int | None = None,
        read: Read | None = None,
        consistent: bool = True,
    ) -> None:
        self._formulas, self._limits, self._consistent = formulas, limits, consistent
        self._read = _read_here if read is None else read
        count = min(4, os.cpu_count() or 1) if threads is None else threads
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="codec", initializer=give_way) if count > 1 else None

    def close(self) -> None:
        """Ends the threads. The codec can then no longer write large pictures."""
        if self._pool is not None:
            self._pool.shutdown()

    def decode(self, data: bytes, options: UpscaleOptions, client: str = "") -> Decoded:
        """The picture in `data` as planes; clients take turns where decoders are few.

        `findings` are looked for unless `options.clean` makes them not matter.

        Raises TooManyBytes, TooManyPixels, UnsupportedFormat, UndecodablePicture or BadParameter; never anything else,
        whatever the bytes are.
        """
        accepted_format(data, self._limits)
        raster = self._read(data, options, self._limits, client)
        started = time.perf_counter()
        frames = tuple(split(frame, self._formulas) for frame in raster.frames)
        findings = _findings(raster, frames[0]) if options.clean != 0 else ()
        return Decoded(
            frames=frames,
            depth=8 if options.depth == "8" else raster.depth,
            format=raster.format,
            metadata=raster.metadata,
            durations_ms=raster.durations_ms,
            loop=raster.loop,
            truncated=raster.truncated,
            findings=findings,
            split_seconds=time.perf_counter() - started,
        )

    def choose(
        self,
        decoded: Decoded,
        scale: int,
        options: UpscaleOptions,
        formats: Sequence[OutputFormat],
        size: Size | None = None,
    ) -> UpscaleOptions:
        """`options` with the first of `formats` that can hold the result; without formats, that of the options counts.

        Raises BadParameter if the options contradict the first format, or, for the first one's reason, if no format can
        hold it. Cheap: call it before the network's work.
        """
        first, *others = [replace(options, format=name) for name in formats] or [options]
        self.check_options(first)
        try:
            self.check(decoded, scale, first, size)
        except BadParameter:
            for other in others:
                with contextlib.suppress(BadParameter):
                    self.check(decoded, scale, other, size)
                    return other
            raise
        return first

    def check_options(self, options: UpscaleOptions) -> None:
        """BadParameter if the options contradict each other, whatever the picture is."""
        target = OUTPUT_FORMATS[options.output_format]
        if options.lossy_quality is not None and not 1 <= options.lossy_quality <= 100:
            raise BadParameter(f"quality={options.lossy_quality} is outside 1..100.")
        if options.lossy_quality is not None and (not target.lossy or options.lossless):
            raise BadParameter(
                f"quality is for lossy formats; {target.name} is written without loss here. Leave it out."
            )
        if options.lossless and not target.lossless:
            choice = _formats(lambda row: row.lossless)
            raise BadParameter(f"lossless does not go with {target.name}; choose {choice}.")

    def check_work(self, decoded: Decoded, scale: int) -> None:
        """TooManyPixels if the network would have to make too many."""
        check_pixels(decoded.height, decoded.width, len(decoded.frames), self._limits, scale)

    def check(self, decoded: Decoded, scale: int, options: UpscaleOptions, size: Size | None = None) -> None:
        """BadParameter if the result cannot be written as asked."""
        self.check_options(options)
        target, frames = OUTPUT_FORMATS[options.output_format], decoded.frames
        if len(frames) > 1 and not target.animation:
            choice = _formats(lambda row: row.animation)
            raise BadParameter(f"{target.name} holds no animation; choose {choice}, or frames=first.")
        if len(frames) > 1 and target.name == "webp":
            _check_webp_film(decoded)
        if not target.alpha and any(frame.alpha is not None for frame in frames):
            choice = _formats(lambda row: row.alpha)
            raise BadParameter(f"The picture has transparent pixels, and {target.name} can have none; choose {choice}.")
        side = max(size or (decoded.height * scale, decoded.width * scale))
        if target.max_side is not None and side > target.max_side:
            raise BadParameter(
                f"{target.name} holds at most {target.max_side} pixels a side, and the result has {side}; "
                f"choose {DEFAULT_FORMAT}."
            )

    def left_out(
        self, decoded: Decoded, scale: int, options: UpscaleOptions, size: Size | None = None
    ) -> tuple[str, ...]:
        """The metadata blocks that could not be read or do not fit into the result, each with the reason, in ASCII."""
        return metadata_of(decoded, scale, size, options).dropped

    def encode(
        self,
        decoded: Decoded,
        planes: Sequence[Sequence[Plane]],
        scale: int,
        options: UpscaleOptions,
        size: Size | None = None,
    ) -> Encoded:
        """The result as a file. `planes[frame]` holds `decoded.frames[frame].planes` enlarged `scale` times.

        `size`, if it is not theirs, is what they are reduced to; along no side may it be larger.
        """
        return self.encoder(decoded, scale, options, size).finish(planes)

    def encoder(self, decoded: Decoded, scale: int, options: UpscaleOptions, size: Size | None = None) -> StreamEncoder:
        """As `encode`, but takes the rows as they come. Raises BadParameter as `check` does."""
        self.check(decoded, scale, options, size)
        large = decoded.height * decoded.width * scale**2 >= _THREADED_PIXELS
        executor = self._pool if large else None
        return StreamEncoder(decoded, scale, options, self._formulas, executor, size=size, consistent=self._consistent)


def _findings(raster: Raster, first: Picture) -> tuple[Finding, ...]:
    """What the file says of its compression, and what the pixels of its first frame say of the time before."""
    said = raster.compression
    before = findings_of(first.luma, lossless=said is None, visible=None if first.alpha is None else first.alpha > 0)
    return tuple(before) if said is None else (said, *before)


def _read_here(data: bytes, options: UpscaleOptions, limits: DecodeLimits, client: str) -> Raster:
    return reader.read(data, options, limits)


def _formats(suits: Callable[[WritableFormat], bool]) -> str:
    """The formats of results that suit, as in "png, webp or tiff"."""
    *names, last = (row.name for row in OUTPUT_FORMATS.values() if suits(row))
    return f"{', '.join(names)} or {last}" if names else last


def _check_webp_film(decoded: Decoded) -> None:
    """BadParameter if an animation has more plays, or longer times, than libwebp can write."""
    durations = decoded.durations_ms
    if decoded.loop > _WEBP_PLAYS or max(durations) > _WEBP_FRAME_MS or sum(durations) > _WEBP_FILM_MS:
        raise BadParameter(
            f"webp holds at most {_WEBP_PLAYS:,} plays, {_WEBP_FRAME_MS:,} ms a frame and {_WEBP_FILM_MS:,} ms in all, "
            f"and the animation has {decoded.loop:,}, {max(durations):,} and {sum(durations):,}; choose png."
        )
