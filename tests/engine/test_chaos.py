"""Everything at once, many times: cancelled, late, poisoned, killed, hung, out of memory; the counters end at zero."""

import asyncio
import random
import threading

import numpy as np
import pytest

from app.errors import InferenceFailed, QueueFull, TooManyRequests
from tests.engine.conftest import ZERO, Start, counters
from tests.engine.fakes import FakeModel, Tiles, expected, picture

HANG_SECONDS = 0.2


class Trouble:
    """A model's bad days, the same for the same seed and order of calls."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._released = threading.Event()

    def release(self) -> None:
        """Let those go on that hang."""
        self._released.set()
        self._released = threading.Event()

    def before(self, tiles: Tiles, scale: int, full_precision: bool) -> None:
        with self._lock:
            chance = self._random.random()
        if chance < 0.02:
            raise SystemExit("killed")
        if chance > 0.98:
            assert self._released.wait(30), "the test never let those go on that hang"
        if chance < 0.05:
            raise MemoryError("full")
        if chance < 0.12:
            raise RuntimeError("failed")

    def after(self, cores: dict[int, Tiles], tiles: Tiles, full_precision: bool) -> dict[int, Tiles]:
        with self._lock:
            chance = self._random.random()
        if chance < 0.05 and not full_precision:
            cores[4 if 4 in cores else 2][0, 0, 0] = np.nan
        return cores if chance < 0.98 else {}


@pytest.mark.parametrize("seed", range(3))
async def test_results_are_right_and_counters_return_to_zero_whatever_happens(start: Start, seed: int) -> None:
    trouble, chance = Trouble(seed), random.Random(seed)
    engine = await start(
        *(lambda: FakeModel(trouble.before, trouble.after) for _ in range(3)), max_tiles=300, hang_seconds=HANG_SECONDS
    )
    outcomes: dict[str, int] = {}

    async def client(number: int) -> None:
        plane = picture(chance.randint(1, 60), chance.randint(1, 60), seed=number)
        scale = chance.choice([2, 4])
        seconds = 0.005 if chance.random() < 0.15 else None
        work = engine.upscale([plane], scale=scale, client=str(number % 5))
        task = asyncio.create_task(asyncio.wait_for(work, seconds))
        if chance.random() < 0.25:
            for _ in range(chance.randint(0, 50)):
                await asyncio.sleep(0)
            task.cancel()
        try:
            levels = (await task)[0]
        except (asyncio.CancelledError, TimeoutError, InferenceFailed, QueueFull, TooManyRequests) as error:
            outcome = type(error).__name__
        else:
            outcome = "done"
            for level, wanted in expected(plane, scale).items():
                np.testing.assert_array_equal(levels[level], wanted)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1

    for _ in range(3):
        await asyncio.gather(*(client(number) for number in range(20)))
        trouble.release()
    assert "done" in outcomes
    assert sum(outcomes.values()) == 60
    await engine.stop(5)
    assert counters(engine) == ZERO
