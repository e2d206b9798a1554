"""Upscales on this machine, with the codec and the engine in this process."""

import asyncio
import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from app import build
from app.cli.batch import PictureError, Progress, Result
from app.errors import PROBLEM_TYPE, LapsrnError, StartupError, TooManyPixels
from app.metrics import Metrics
from app.options import UpscaleOptions
from app.results import MemoryStore
from app.service.codec_threads import CodecThreads
from app.service.keeper import Keeper
from app.service.picture_budget import PictureBudget
from app.service.pipeline import Order, Pipeline, Upload
from app.service.stages import Stages
from app.settings import Settings, load_settings
from model.weights import WeightsError

WIDE: dict[str, Any] = {
    "max_input_bytes": 2**30,
    "max_input_pixels": 2**26,
    "max_output_pixels": 2**32,
    "max_queue_tiles": 2**24,
    "max_queue_bytes": 2**38,
}
"""Limits unless the environment sets them: the user of the command owns the machine and chose the pictures."""
_LARGE = (
    " LAPSRN_MAX_INPUT_PIXELS and LAPSRN_MAX_OUTPUT_PIXELS set the limits here; lapsrn upscale-large takes a TIFF or "
    "PNG of any size."
)


def local_settings(weights: Path | None, device: str | None) -> Settings:
    """The settings of the environment, with wide limits, and with these weights and this device if given.

    Raises StartupError.
    """
    settings = with_network(load_settings(), weights, device)
    return settings.model_copy(
        update={name: value for name, value in WIDE.items() if name not in settings.model_fields_set}
    )


def with_network(settings: Settings, weights: Path | None, device: str | None) -> Settings:
    """The settings with these weights as the only ones, and with this device, if given."""
    update: dict[str, Any] = {}
    if weights is not None:
        update |= {"weights": weights, "weights_sha256": None, "more_weights": ()}
    if device is not None:
        update["devices"] = device
    return settings.model_copy(update=update)


def check_network(settings: Settings, name: str | None) -> None:
    """Raises StartupError if weights are missing or there is no model `name`, if possible before any file is read."""
    names = [file.stem for group in build.weights_files(settings) for file in group]
    if name is not None and name not in names:
        with contextlib.suppress(WeightsError):
            names = [weights.info.name for weights in build.open_weights(settings)]  # waypoints are files, too
        raise _no_model(name, names)


def _no_model(name: str, names: Iterable[str]) -> StartupError:
    return StartupError(f"there is no model {name!r} here; there are {', '.join(names)}")


class LocalBackend:
    """Loads the network once; decodes the next picture while the network works on one."""

    at_once = 2

    def __init__(self, settings: Settings, options: UpscaleOptions, level: int | None) -> None:
        """`level` is a smaller level of the pass, None the largest. Raises StartupError."""
        metrics = Metrics(CollectorRegistry())
        # Warming up takes seconds, more than a command would gain.
        self.engine = build.build_engine(settings, metrics, build.open_model(settings, None), warm_up="nothing")
        self._codec = build.build_codec(settings)
        self._threads = CodecThreads(build.codec_threads(settings))
        keeper = Keeper(MemoryStore(0, 0.0), metrics, 0, 0.0)
        self._pipeline = Pipeline(
            self._codec, self, metrics, self._threads, keeper, PictureBudget(settings.max_queue_bytes)
        )
        self._options, self._level = options, level

    async def start(self) -> None:
        """Loads the network and starts the workers. Raises StartupError, also for files that are not models alone."""
        await self.engine.start()
        if (name := self._options.model) is not None and name not in self.engine.networks:
            error = _no_model(name, self.engine.networks)
            await self.close()
            raise error

    async def upscale(self, data: bytes, progress: Progress | None, options: UpscaleOptions | None = None) -> Result:
        """Decodes, upscales and encodes one picture, with `options` or the backend's. Raises PictureError."""
        try:
            result = await self._pipeline.run(self._order(options), Upload(data), Stages(_ignore), progress or _ignore)
        except LapsrnError as error:
            hint = _LARGE if isinstance(error, TooManyPixels) else ""
            raise PictureError(str(error) + hint, PROBLEM_TYPE + error.slug) from error
        body, left_out = result.levels[result.level].body, "; ".join(result.left_out)
        return Result(body, str(result.clean_up), left_out, result.truncated)

    async def close(self) -> None:
        """Stops the workers and the threads of the codec."""
        await self.engine.stop(0.0)
        await self._threads.close()
        await asyncio.to_thread(self._codec.close)

    def _order(self, options: UpscaleOptions | None) -> Order:
        return Order(options or self._options, "", "", "", "", deadline_seconds=None, smaller=False, level=self._level)


def _ignore(*_: object) -> None:
    """A progress callback that does nothing."""
