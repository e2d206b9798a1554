"""Upscaling on this machine: codec and engine in this process."""

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from app import build
from app.cli.batch import PictureError, Progress
from app.codec import Decoded, DecodeOptions, EncodeOptions
from app.engine import TileModel
from app.errors import PROBLEM_TYPE, LapsrnError
from app.metrics import Metrics
from app.service.service import ModelFactory
from app.settings import Settings, load_settings

WIDE: dict[str, Any] = {
    "max_input_bytes": 2**30,
    "max_input_pixels": 2**26,
    "max_output_pixels": 2**32,
    "max_queue_tiles": 2**24,
    "max_queue_bytes": 2**38,
}
"""Limits unless the environment sets them: the person at the keyboard owns the machine, and sends no bombs."""
LARGE_PIXELS = 2**22
"""Pictures of more pixels than this are upscaled one at a time, as each takes gigabytes."""


def local_settings(weights: Path | None, device: str | None) -> Settings:
    """The environment's settings with wide limits, and with these weights and device if given. Raises StartupError."""
    settings = load_settings()
    update = {name: value for name, value in WIDE.items() if name not in settings.model_fields_set}
    if weights is not None:
        update |= {"weights": weights, "weights_sha256": None, "more_weights": ()}
    if device is not None:
        update["devices"] = device
    return settings.model_copy(update=update)


class LocalBackend:
    """Loads the network once; while it works on one picture, the next is decoded."""

    at_once = 2

    def __init__(
        self,
        settings: Settings,
        decode: DecodeOptions,
        encode: EncodeOptions,
        level: int,
        *,
        model: str | None = None,
        ensemble: bool = False,
    ) -> None:
        """`decode.scale` is the scale of the pass, `level` the one of its levels wanted. Raises StartupError.

        `model` is the network and `ensemble` the way, as Engine.upscale has them.
        """
        self._codec = build.build_codec(settings)
        source = build.open_model(settings, None)
        source = replace(source, factories=[partial(_cold, factory) for factory in source.factories])
        self._engine = build.build_engine(settings, Metrics(CollectorRegistry()), source)
        self._decode, self._encode, self._level = decode, encode, level
        self._model, self._ensemble = model, ensemble
        self._large = asyncio.Lock()

    async def start(self) -> None:
        """Loads the network. Raises StartupError."""
        await self._engine.start()

    async def upscale(self, data: bytes, progress: Progress | None) -> bytes:
        """As Backend."""
        try:
            decoded = await asyncio.to_thread(self._codec.decode, data, self._decode)
            self._codec.check(decoded, self._level, self._encode)
            async with self._large if decoded.height * decoded.width > LARGE_PIXELS else nullcontext():
                return await self._upscale(decoded, progress)
        except LapsrnError as error:
            raise PictureError(str(error), PROBLEM_TYPE + error.slug) from error

    async def close(self) -> None:
        """As Backend."""
        await self._engine.stop(0.0)
        await asyncio.to_thread(self._codec.close)

    async def _upscale(self, decoded: Decoded, progress: Progress | None) -> bytes:
        outputs = await self._engine.upscale(
            decoded.planes,
            scale=self._decode.scale,
            client="",
            network=self._model,
            ensemble=self._ensemble,
            on_progress=progress,
        )
        frames = decoded.by_frame(outputs, self._level)
        encoded = await asyncio.to_thread(partial(self._codec.encode, decoded, frames, self._level, self._encode))
        return encoded.body


def _cold(factory: ModelFactory) -> TileModel:
    """The model without its warming up: that takes seconds, and a command would run longer for it than it gains."""

    def skip(shapes: Sequence[tuple[int, int, int]]) -> None:
        """Nothing."""

    model = factory()
    for network in (model, *model.companions):
        network.warm_up = skip  # type: ignore[method-assign]
    return model
