"""quality= and ensemble=: of encoders, and the mean over several passes of the network."""

import httpx
import numpy as np
import pytest

from tests import pictures
from tests.api.test_upscale import post
from tests.conftest import Running
from tests.fakes import FakeModel


async def test_quality_of_a_lossless_format_is_refused_before_the_network_runs(serve: Running) -> None:
    model = FakeModel()
    async with serve([lambda: model]) as client:
        answer = await post(client, "?format=png&quality=50")
        assert answer.status_code == 422
        assert model.tiles_run == 0


def leaning() -> type[FakeModel]:
    """A network that is not symmetric: it takes the pixel above instead of the pixel, so that turned runs differ."""

    class Leaning(FakeModel):
        def run(self, tiles, scale, *, full_precision=False, clean=0.0, compressed=True):  # type: ignore[no-untyped-def]
            return super().run(np.roll(tiles, 1, axis=1), scale, full_precision=full_precision, clean=clean)

    return Leaning


@pytest.mark.parametrize(
    "query",
    [
        "ensemble=true",
        "effort=best",
        "quality=best",
        "quality=high",
        "effort=medium&quality=high",
        "quality=high&ensemble=true",
    ],
)
async def test_an_ensemble_is_the_mean_over_the_symmetries_of_the_picture(serve: Running, query: str) -> None:
    gray = np.asarray(pictures.gray())
    padded = np.pad(gray, 1, mode="edge").astype(np.float64)
    around = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) / 4
    async with serve([leaning()]) as client:
        plain, ensemble = await post(client, "?scale=2"), await post(client, f"?scale=2&{query}")
    small = pictures.opened(ensemble.content)[::2, ::2]
    assert ensemble.status_code == 200
    assert ensemble.content != plain.content
    assert np.abs(small - around)[1:-1, 1:-1].max() <= 0.51


async def test_medium_effort_is_the_mean_over_the_picture_and_a_quarter_turn(serve: Running) -> None:
    """The network leans to the row above; in the quarter turn that is the column on the right."""
    gray = np.asarray(pictures.gray())
    padded = np.pad(gray, 1, mode="edge").astype(np.float64)
    means = (padded[:-2, 1:-1] + padded[1:-1, 2:]) / 2
    async with serve([leaning()]) as client:
        answer = await post(client, "?scale=2&quality=medium")
    small = pictures.opened(answer.content)[::2, ::2]
    assert np.abs(small - means)[1:-1, 1:-1].max() <= 0.51


@pytest.mark.parametrize(("quality", "passes"), [("medium", 2), ("high", 8), ("best", 8)])
async def test_every_pass_counts_its_tiles(serve: Running, quality: str, passes: int) -> None:
    models = FakeModel(), FakeModel()
    for model, query in zip(models, ("", f"?quality={quality}"), strict=True):
        async with serve([lambda model=model: model]) as client:
            assert (await post(client, query)).status_code == 200
    assert models[1].tiles_run == passes * models[0].tiles_run


@pytest.mark.parametrize("effort", ["ensemble=true", "effort=best", "effort=high"])
async def test_effort_and_encoder_quality_can_be_combined(serve: Running, effort: str) -> None:
    async with serve([leaning()]) as client:
        rough, fine, plain, alone = [
            await post(client, f"?format=jpeg&{query}")
            for query in (f"{effort}&quality=10", f"{effort}&quality=95", "quality=95", "quality=high")
        ]
    assert len(rough.content) < len(fine.content)
    assert fine.content != plain.content
    assert alone.status_code == 200
    assert alone.content not in (fine.content, plain.content)


@pytest.mark.parametrize("quality", ["0", "101", "worst", "standard", "1.5", ""])
async def test_quality_must_be_a_number_or_an_effort(client: httpx.AsyncClient, quality: str) -> None:
    answer = await post(client, f"?format=jpeg&quality={quality}")
    assert answer.status_code == 422
    assert answer.json()["detail"] == "quality: must be 1 to 100, medium, high or best"
