"""The shipped networks through the service's own way: what clean= gives, byte for byte."""

from pathlib import Path

import pytest

from app.cli.batch import Result
from app.cli.local import LocalBackend, local_settings
from app.options import UpscaleOptions
from bench.pictures import jpeg
from tests.pictures import opened

PICTURE = jpeg(40, 56)  # of quality 90


async def upscaled(weights: Path | None = None, **options: object) -> Result:
    backend = LocalBackend(local_settings(weights, "cpu"), UpscaleOptions(**options), 4)  # type: ignore[arg-type]
    await backend.start()
    try:
        return await backend.upscale(PICTURE, None)
    finally:
        await backend.close()


async def test_strength_0_is_the_network_without_clean_up(weights: Path) -> None:
    """As it is where no other weights are served."""
    alone, plain = await upscaled(weights), await upscaled(clean=0.0)
    assert alone.body == plain.body
    assert (alone.clean, plain.clean) == ("0", "0")


async def test_full_strength_has_another_name(weights: Path) -> None:
    full, named = await upscaled(clean=1.0), await upscaled(model="lapsrn_x4_jpeg")
    assert full.body == named.body
    assert (full.clean, named.clean) == ("1", "1")


@pytest.mark.parametrize("model", [None, "lapsrn_x4"])
async def test_the_picture_decides_and_the_result_is_that_of_its_strength(weights: Path, model: str | None) -> None:
    first, second = await upscaled(model=model), await upscaled(clean=0.5)
    assert first.clean == "0.5; jpeg=90"
    assert first.body == second.body


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
async def test_the_network_for_x8_gives_the_same_x4(weights: Path, strength: float) -> None:
    """It has the same first levels. Its wider margin may change how sums are rounded."""
    small, large = await upscaled(clean=strength), await upscaled(clean=strength, model="lapsrn_x8")
    difference = opened(small.body).astype(int) - opened(large.body)
    assert abs(difference).max() <= 1
    assert (difference != 0).mean() < 0.01
