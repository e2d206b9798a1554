"""Engines on fake models, ended after each test."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Protocol

import pytest

from app.engine import Engine, EngineConfig, TileModel
from tests.engine.fakes import FakeModel, Recorder

SMALL = EngineConfig(
    tile_widths=(4, 8),
    max_batch_tiles=16,
    max_batch_pixels=64,
    restart_seconds=0.001,
    restart_max_seconds=0.01,
    progress_seconds=0.0,
)


class Start(Protocol):
    """Starts an engine with small tiles; keyword arguments change its EngineConfig."""

    async def __call__(self, *models: TileModel | Callable[[], TileModel], **config: Any) -> Engine: ...


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def start(recorder: Recorder) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def begin(*models: TileModel | Callable[[], TileModel], **config: Any) -> Engine:
            factories = [_factory(model) for model in models]
            engine = Engine(factories, replace(SMALL, **config), recorder)
            await engine.start()
            stack.push_async_callback(engine.stop, 0.0)
            return engine

        yield begin


def _factory(model: TileModel | Callable[[], TileModel]) -> Callable[[], TileModel]:
    return (lambda: model) if isinstance(model, FakeModel) else model  # type: ignore[return-value]


def counters(engine: Engine) -> tuple[int, int, float, int, int]:
    """Everything that must come back to zero: requests, tiles that wait and since when, tiles in flight, bytes."""
    scheduler = engine.scheduler
    return scheduler.requests, *scheduler.waiting(), scheduler.in_flight, scheduler.bytes_under_way


ZERO = (0, 0, 0.0, 0, 0)
