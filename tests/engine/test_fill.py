"""Batches that are always full, for devices that choose kernels by the batch's size."""

import asyncio

import numpy as np

from tests.engine.conftest import Start
from tests.engine.fakes import FakeModel, Recorder, expected, picture


async def test_every_batch_is_filled_to_its_full_size(start: Start, recorder: Recorder) -> None:
    model = FakeModel()
    engine = await start(model, fill_batches=True)
    planes = [picture(side, side, side) for side in (3, 4, 7, 8, 9, 17)]
    found = await asyncio.gather(
        *(engine.upscale([plane], scale=4, client=str(index)) for index, plane in enumerate(planes))
    )
    for plane, (outputs,) in zip(planes, found, strict=True):
        np.testing.assert_array_equal(outputs[4], expected(plane, 4)[4])
    full = {(4, 4): 4, (4, 8): 2, (8, 4): 2, (8, 8): 1}
    for (count, height, width), _, _ in model.calls:
        assert count == full[height - 6, width - 6]
    tiles = sum((side > 8) * 3 + (side > 16) * 5 + 1 for side in (3, 4, 7, 8, 9, 17))
    assert sum(recorder.batches) == tiles, "the observer is told of the tiles that were asked for"


async def test_batches_are_filled_with_zeros_and_not_with_earlier_tiles(start: Start) -> None:
    seen: list[np.ndarray] = []
    model = FakeModel(before=lambda tiles, *_: seen.append(tiles.copy()))
    engine = await start(model, fill_batches=True)
    for seed in range(2):
        await engine.upscale([picture(4, 4, seed)], scale=2, client="me")
    assert [tiles.shape[0] for tiles in seen] == [4, 4]
    assert all(tiles[0].any() and not tiles[1:].any() for tiles in seen)


async def test_a_worker_warms_up_on_full_batches(start: Start) -> None:
    model = FakeModel()
    await start(model, fill_batches=True, warm_up="shapes")
    assert model.warmed == [(4, 4, 4), (2, 4, 8), (2, 8, 4), (1, 8, 8)]


async def test_running_out_of_memory_halves_the_full_batch_size(start: Start) -> None:
    def before(tiles: np.ndarray, scale: int, full_precision: bool) -> None:
        if len(tiles) > 1:
            raise MemoryError

    model = FakeModel(before=before)
    engine = await start(model, fill_batches=True)
    plane = picture(4, 4)
    (outputs,) = await engine.upscale([plane], scale=4, client="me")
    np.testing.assert_array_equal(outputs[4], expected(plane, 4)[4])
    assert [shape[0] for shape, _, _ in model.calls] == [4, 2, 1]
