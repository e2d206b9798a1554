"""Strengths of clean-up: every plane gets its own, and tiles of different strengths are never in one batch."""

import asyncio

import numpy as np
import pytest

from app.errors import BadParameter
from tests.engine.conftest import Start
from tests.engine.fakes import FakeModel, expected, picture


async def test_each_plane_has_its_own_strength(start: Start) -> None:
    engine = await start(FakeModel(cleans=True))
    planes = [picture(13, 21), picture(13, 21, seed=1), picture(5, 4)]
    outputs = await engine.upscale(planes, scale=4, client="me", clean=[0.5, 0.0, 1.0])
    for plane, levels, strength in zip(planes, outputs, (0.5, 0.0, 1.0), strict=True):
        for level, whole in expected(plane, 4).items():
            np.testing.assert_array_equal(levels[level], whole + np.float32(1000 * strength))


async def test_tiles_of_different_strengths_do_not_share_a_batch(start: Start) -> None:
    engine = await start(FakeModel(cleans=True))
    plane, strengths = picture(9, 14), [0.0, 0.25, 0.5, 1.0] * 4
    found = await asyncio.gather(
        *(
            engine.upscale([plane], scale=4, client=str(index), clean=[strength])
            for index, strength in enumerate(strengths)
        )
    )
    for (outputs,), strength in zip(found, strengths, strict=True):
        np.testing.assert_array_equal(outputs[4], expected(plane, 4)[4] + np.float32(1000 * strength))


async def test_whether_the_source_was_compressed_reaches_the_network_except_at_strength_zero(start: Start) -> None:
    """At 0 it makes none, so such tiles may share batches."""
    engine = await start(FakeModel(cleans=True))
    planes = [picture(6, 7, seed) for seed in range(3)]
    outputs = await engine.upscale(planes, scale=4, client="me", clean=[0.5, 0.0, 1.0], compressed=False)
    for plane, levels, added in zip(planes, outputs, (250, 0, 500), strict=True):
        np.testing.assert_array_equal(levels[4], expected(plane, 4)[4] + np.float32(added))


async def test_every_pass_of_an_ensemble_has_the_same_strength(start: Start) -> None:
    engine = await start(FakeModel(cleans=True))
    flat = np.full((6, 9), 3, np.float32)
    plain, cleaned = [
        (await engine.upscale([flat], scale=4, client="me", clean=[strength], passes=8))[0][4]
        for strength in (0.0, 0.5)
    ]
    np.testing.assert_array_equal(cleaned, plain + np.float32(500))


async def test_a_network_without_clean_up_refuses_a_strength(start: Start) -> None:
    engine = await start(FakeModel())
    await engine.upscale([picture(4, 4)], scale=4, client="me", clean=[0.0])
    with pytest.raises(BadParameter, match="fake has no clean-up"):
        await engine.upscale([picture(4, 4)], scale=4, client="me", clean=[0.5])
