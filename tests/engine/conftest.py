"""Engines on fake models, ended after each test."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeAlias

import pytest

from app.engine import Engine, EngineConfig, TileModel
from tests.engine.fakes import Recorder
from tests.fakes import worker

SMALL = EngineConfig(
    tile_widths=(4, 8),
    max_batch_tiles=16,
    max_batch_pixels=64,
    restart_seconds=0.001,
    restart_max_seconds=0.01,
    progress_seconds=0.0,
)


Models: TypeAlias = TileModel | Sequence[TileModel]
"""What one worker has."""


class Start(Protocol):
    """Starts an engine with small tiles, a worker for each argument; keyword arguments change its EngineConfig."""

    async def __call__(self, *models: Models | Callable[[], Models], **config: Any) -> Engine: ...


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def start(recorder: Recorder) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def begin(*models: Models | Callable[[], Models], **config: Any) -> Engine:
            factories = [worker(each if callable(each) else partial(_itself, each)) for each in models]
            engine = Engine(factories, replace(SMALL, **config), recorder)
            await engine.start()
            stack.push_async_callback(engine.stop, 0.0)
            return engine

        yield begin


def _itself(models: Models) -> Models:
    return models


def counters(engine: Engine) -> tuple[int, int, float, int, int]:
    """Everything that must come back to zero: requests, tiles that wait and since when, tiles in flight, bytes."""
    scheduler = engine.scheduler
    return scheduler.requests, *scheduler.waiting(), scheduler.in_flight, scheduler.bytes_under_way


ZERO = (0, 0, 0.0, 0, 0)
