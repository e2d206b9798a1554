"""Takes one picture through decoding, network, encoding and storing. The core of POST /upscale and of every job."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from app.codec import Codec, Decoded, footprint
from app.engine import Engine
from app.errors import DeadlineExceeded
from app.formats import OutputFormat
from app.metrics import Metrics
from app.options import UpscaleOptions
from app.results import StoredPicture
from app.service import choice, clean_up
from app.service.clean_up import CleanUp
from app.service.codec_threads import CodecThreads
from app.service.keeper import Keeper
from app.service.level_writer import LevelWriter
from app.service.picture_budget import PictureBudget
from app.service.plan import Plan, make_plan
from app.service.stages import Stages
from app.service.upload_budget import Reservation

PIXELS_PER_BYTE = 4
"""Typical of a JPEG file; files of other formats have fewer pixels per byte."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Order:
    """What to make, and for whom.

    A deadline of None is no deadline. `formats` are those that the client accepts, best first; if empty, the format of
    the options is written. If the options ask for a scale, all levels up to it are written; without `smaller`, only
    `level`, or the largest if that is None.
    """

    options: UpscaleOptions
    client: str
    owner: str
    result_id: str
    request_id: str
    deadline_seconds: float | None
    formats: tuple[OutputFormat, ...] = ()
    smaller: bool = True
    level: int | None = None


class Upload:
    """The body of one request, which can be released once it is decoded, before the network works."""

    def __init__(self, data: bytes, reservation: Reservation | None = None) -> None:
        """`reservation` is what the bytes hold of the upload budget, if it is limited."""
        self._data: bytes | None = data
        self._reservation = reservation

    def read(self) -> bytes:
        """The bytes; empty once released."""
        return self._data or b""

    def release(self) -> None:
        """Drops the bytes and their reservation; a second call has no effect."""
        self._data = None
        if self._reservation is not None:
            self._reservation.release()


@dataclass(frozen=True, slots=True)
class Upscaled:
    """The pictures of all written levels, and whether the store keeps them under the order's id, or why not."""

    levels: Mapping[int, StoredPicture]
    level: int
    """The largest of `levels`, which was asked for."""
    network: str
    """The name of the network that computed them."""
    passes: int
    stored: bool
    not_stored_because: str
    truncated: bool
    left_out: tuple[str, ...]
    """Metadata blocks that are missing from the result, each with the reason."""
    height: int
    width: int
    clean_up: CleanUp


class EngineSource(Protocol):
    """Provides the current engine, which changes when weights are reloaded."""

    @property
    def engine(self) -> Engine:
        """The engine that computes admitted work. Raises errors.WarmingUp."""
        ...


class _Prepared(NamedTuple):
    """A decoded picture, and how its result is to be made and written."""

    decoded: Decoded
    plan: Plan
    options: UpscaleOptions
    """As ordered, with the format to write."""
    left_out: tuple[str, ...]
    """As in Upscaled."""


class Pipeline:
    """Runs orders. Decoding and encoding happen in `threads`, the network in the engine."""

    def __init__(
        self,
        codec: Codec,
        engines: EngineSource,
        metrics: Metrics,
        threads: CodecThreads,
        keeper: Keeper,
        memory: PictureBudget,
    ) -> None:
        """Borrows everything; closes nothing."""
        self._codec = codec
        self._engines = engines
        self._metrics = metrics
        self._threads = threads
        self._keeper = keeper
        self._memory = memory

    async def run(
        self, order: Order, upload: Upload, stages: Stages, progress: Progress, patient: bool = False
    ) -> Upscaled:
        """Upscales one picture as ordered. Raises the codec's and the engine's errors.

        With `patient`, an unavailable store is retried, as only the store can deliver the result. Cancelling withdraws
        the tiles. Raises DeadlineExceeded when the order's time is up.
        """
        seconds = order.deadline_seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._run(order, upload, stages, progress, patient)
        except TimeoutError:
            otherwise = "" if patient else ", or ask for a job (Prefer: respond-async)"
            raise DeadlineExceeded(f"Not done within {seconds:g} s. Send a smaller picture{otherwise}.") from None

    async def _run(self, order: Order, upload: Upload, stages: Stages, progress: Progress, patient: bool) -> Upscaled:
        with stages.measure("decode"):
            # The number of pixels is known only after decoding; until then it is estimated from the bytes.
            pixels = PIXELS_PER_BYTE * len(upload.read()) * order.options.least_level**2
            engine = self._engines.engine
            decoded, plan, options, left_out = await self._threads.run(
                lambda: self._prepare(engine, order, upload), pixels, order.client
            )
        upload.release()
        stages.current = "queue"
        networks, network = engine.networks, engine.networks[plan.network]
        cleaned = clean_up.choose(networks, network, options.clean, decoded.findings)
        chosen = choice.choose(networks, network, options.asked_effort, cleaned.strength)
        options = replace(options, clean=cleaned.strength)
        memory = footprint(decoded, engine.levels(plan.network, plan.compute), plan.levels, options, plan.size)
        writer = LevelWriter(
            self._codec,
            decoded,
            options,
            plan.levels,
            self._threads,
            client=order.client,
            size=plan.size,
            clean=str(cleaned),
        )

        def report(done: int, total: int) -> None:
            stages.current = "infer" if done else "queue"
            progress(done, total)

        with self._memory.hold(order.client, memory), closing(writer):
            outputs = await engine.upscale(
                decoded.planes,
                scale=plan.compute,
                client=order.client,
                network=chosen.network,
                clean=decoded.strengths(cleaned.strength),
                compressed=cleaned.compressed,
                passes=chosen.passes,
                on_progress=report,
                on_rows=writer.advance,
                on_stage=stages.note,
            )
            stages.current = "encode"
            levels = await writer.finish(outputs)
        stages.add("merge", writer.merge_seconds)
        stages.add("encode", writer.encode_seconds)
        problem = await self._keeper.keep(order.result_id, order.owner, levels, client=order.client, patient=patient)
        pixels_in = decoded.height * decoded.width * len(decoded.frames)
        self._metrics.pixels(pixels_in, pixels_in * plan.level**2)
        self._metrics.cleaned(cleaned.strength, cleaned.reason)
        height, width = plan.size or (decoded.height * plan.level, decoded.width * plan.level)
        return Upscaled(
            levels=levels,
            level=plan.level,
            network=chosen.name,
            passes=chosen.passes,
            stored=not problem,
            not_stored_because=problem,
            truncated=decoded.truncated,
            left_out=left_out,
            height=height,
            width=width,
            clean_up=cleaned,
        )

    def _prepare(self, engine: Engine, order: Order, upload: Upload) -> _Prepared:
        """Decodes the picture and plans its result.

        Raises the codec's errors for pictures that cannot be read, computed or written, and BadParameter.
        """
        preferred = replace(order.options, format=order.formats[0]) if order.formats else order.options
        decoded = self._codec.decode(upload.read(), preferred, order.client)
        plan = make_plan(engine, order.options, decoded.height, decoded.width)
        self._codec.check_work(decoded, plan.compute)
        if plan.size is None and not order.smaller:
            plan = replace(plan, levels=(order.level or plan.compute,))
        options = self._codec.choose(decoded, plan.level, order.options, order.formats, plan.size)
        return _Prepared(decoded, plan, options, self._codec.left_out(decoded, plan.level, options, plan.size))
