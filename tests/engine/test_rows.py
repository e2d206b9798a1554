"""Finished rows are reported from the top down while the rest is computed, and their memory can be released."""

from pathlib import Path

import numpy as np

from app.engine import Outputs, Plane
from app.engine.planes import new_plane
from tests.engine.conftest import Start
from tests.engine.fakes import FakeModel, expected, picture


async def test_rows_are_final_when_they_are_reported(start: Start) -> None:
    engine = await start(FakeModel, FakeModel, tile_widths=(3, 4, 8))
    planes = [picture(45, 29), picture(45, 29, seed=1)]
    wanted = [expected(plane, 4) for plane in planes]
    told: list[int] = []

    def check(rows: int, outputs: list[dict[int, Plane]]) -> None:
        told.append(rows)
        for output, right in zip(outputs, wanted, strict=True):
            for level, plane in output.items():
                np.testing.assert_array_equal(plane[: rows * level], right[level][: rows * level])

    await engine.upscale(planes, scale=4, client="me", on_rows=check)
    assert told == sorted(told)
    assert told[-1] == 45


async def test_tiles_are_computed_from_the_top_down_whatever_their_shapes(start: Start) -> None:
    model = FakeModel()
    engine = await start(model, tile_widths=(3, 8), max_batch_tiles=1)
    await engine.upscale([picture(40, 35)], scale=4, client="me")
    shapes = [call[0] for call in model.calls]
    assert len(set(shapes)) > 1
    row = shapes[: len(shapes) // 5]
    assert shapes[: 4 * len(row)] == 4 * row, "every row of tiles has its narrow ones at its own end"


def test_releasing_rows_of_a_large_plane_returns_their_memory() -> None:
    before = _resident()
    plane = new_plane(4096, 4096)
    assert _resident() < before + 8, "untouched"
    plane[:] = 3
    full = _resident()
    assert full > before + 60
    Outputs([{2: plane}]).release(2, 1500)
    assert _resident() < full - 40
    assert (plane[3000:] == 3).all()


def test_releasing_rows_of_a_small_plane_leaves_it_unchanged() -> None:
    plane = new_plane(100, 100)
    plane[:] = 3
    Outputs([{4: plane}]).release(4, 25)
    assert (plane == 3).all()


def test_releasing_rows_leaves_those_that_share_a_memory_page_unchanged() -> None:
    plane = new_plane(40_000, 250)  # rows of 1000 bytes
    plane[:] = np.arange(40_000)[:, None]
    Outputs([{1: plane}]).release(1, 2003)
    assert (plane[2003:] == np.arange(2003, 40_000)[:, None]).all()


def _resident() -> float:
    """MiB of memory that this process holds."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024
