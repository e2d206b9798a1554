"""What a worker does before it is up."""

import asyncio

import pytest

from tests.engine.conftest import Start
from tests.engine.fakes import FakeModel, picture


@pytest.mark.parametrize(
    ("warm_up", "shapes"),
    [
        ("nothing", []),
        ("smallest", [(1, 4, 4)]),
        ("tiles", [(1, 4, 4), (1, 8, 8)]),
        ("shapes", [(1, 4, 4), (2, 4, 4), (4, 4, 4), (1, 4, 8), (2, 4, 8), (1, 8, 4), (2, 8, 4), (1, 8, 8)]),
    ],
)
async def test_a_worker_warms_up_on_its_core_sizes_before_it_reports_up(
    start: Start, warm_up: str, shapes: list[tuple[int, int, int]]
) -> None:
    model = FakeModel()
    await start(model, warm_up=warm_up)
    assert model.warmed == shapes


async def test_the_smallest_warm_up_is_of_the_first_network_only(start: Start) -> None:
    models = [FakeModel(name="first"), FakeModel(name="second")]
    await start(models, warm_up="smallest")
    assert [model.warmed for model in models] == [[(1, 4, 4)], []]


async def test_a_network_warms_up_on_the_tiles_of_its_largest_scale(start: Start) -> None:
    model = FakeModel(scales=(2, 4, 8))
    await start(model, warm_up="tiles")
    assert model.warmed == [(1, 4, 4)], "at x8, tiles of 8 pixels would have too many pixels"


async def test_warm_up_shapes_covers_every_shape_that_requests_can_have(start: Start) -> None:
    model = FakeModel()
    engine = await start(model, warm_up="shapes")
    sides = (1, 4, 7, 9, 13, 20)
    await asyncio.gather(
        *(engine.upscale([picture(height, width)], scale=4, client=f"{height}") for height in sides for width in sides)
    )
    border = 2 * model.info.margin
    seen = {(count, height - border, width - border) for (count, height, width), _, _ in model.calls}
    assert seen <= set(model.warmed)
    assert {shape[1:] for shape in seen} == {(4, 4), (4, 8), (8, 4), (8, 8)}
