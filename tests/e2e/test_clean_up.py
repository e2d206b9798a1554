"""The shipped networks through the service's own way: what clean= gives, byte for byte."""

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.build import build_formulas, build_limits
from app.cli.batch import Result
from app.cli.local import LocalBackend, local_settings
from app.codec import Codec
from app.codec.merge import merge
from app.options import MORE_EFFORT, MoreEffort, UpscaleOptions
from app.settings import Settings
from bench.pictures import photograph
from model.evaluate import luma_8bit, pad, pairs
from model.quality import psnr
from model.runtime import Weights
from tests.pictures import opened, png

SMOOTH = Image.fromarray(photograph(20, 28)).resize((56, 40), Image.Resampling.BICUBIC)  # its texture is no noise


def as_jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90)
    return file.getvalue()


PICTURE = as_jpeg(SMOOTH)
LOSSLESS = png(opened(PICTURE)[::2, ::2].copy())  # every second pixel has no 8x8 blocks any more


async def upscaled(weights: Path | None = None, picture: bytes = PICTURE, **options: object) -> Result:
    backend = LocalBackend(local_settings(weights, "cpu"), UpscaleOptions(**options), 4)  # type: ignore[arg-type]
    await backend.start()
    try:
        return await backend.upscale(picture, None)
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
    first = await upscaled(model=model)
    strength, _, found = first.clean.partition("; ")
    assert found == "jpeg=90"
    assert 0 < float(strength) < 1
    assert first.body == (await upscaled(clean=float(strength))).body


async def test_half_strength_is_a_network_of_its_own_where_nothing_was_compressed(weights: Path) -> None:
    """Such a picture may have been shrunk in any way."""
    found, plain = await upscaled(picture=LOSSLESS, clean=0.5), await upscaled(picture=LOSSLESS)
    assert (plain.clean, found.clean) == ("0", "0.5")
    np.testing.assert_array_equal(opened(found.body), cleaned_by(weights.with_stem("lapsrn_x4_shrunk"), LOSSLESS))


def cleaned_by(weights: Path, file: bytes) -> NDArray[np.uint8]:
    """The x4 picture of a file with the luma of this network alone."""
    (picture,) = Codec(build_formulas(), build_limits(Settings())).decode(file, UpscaleOptions(scale=4)).frames
    runtime = Weights.open(weights).runtime("cpu")
    luma = runtime.run(pad(picture.luma, runtime.info.margin, runtime.info.window_margin)[None], 4)[4]
    return merge(picture, list(luma), 4, 8, build_formulas(), consistent=True, cleaned=True).astype(np.uint8)


async def test_more_quality_scores_more(bench_dir: Path) -> None:
    """Mean PSNR of luma over Set5, of whole results: each quality is worth more than the one before."""
    backend = LocalBackend(local_settings(None, "cpu"), UpscaleOptions(), 4)
    await backend.start()
    means = []
    try:
        sets = list(pairs(bench_dir / "Set5" / "HR", bench_dir / "Set5" / "LRx4", 4))
        for quality in (None, *MORE_EFFORT):
            options = UpscaleOptions(scale=4, clean=0.0, quality=quality)  # type: ignore[arg-type]
            found = [
                psnr(luma_8bit(opened((await backend.upscale(png(low), None, options)).body)), luma_8bit(truth), 4)
                for _, truth, low in sets
            ]
            means.append(np.mean(found))
    finally:
        await backend.close()
    assert (np.diff(means) > [0.03, 0.005, 0.05]).all(), means


@pytest.mark.parametrize("quality", [None, *MORE_EFFORT])
async def test_a_flat_picture_stays_flat_at_every_quality(weights: Path, quality: MoreEffort | None) -> None:
    body = png(np.full((9, 31, 3), (90, 140, 220), np.uint8))
    for strength in (0.0, 0.375, 1.0):
        result = await upscaled(picture=body, clean=strength, quality=quality)
        assert (opened(result.body) == (90, 140, 220)).all()


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
async def test_the_network_for_x8_gives_the_same_x4(weights: Path, strength: float) -> None:
    """It has the same first levels, and no companion for compression. Its wider margin may change how sums round."""
    small = await upscaled(picture=LOSSLESS, clean=strength)
    large = await upscaled(picture=LOSSLESS, clean=strength, model="lapsrn_x8")
    difference = opened(small.body).astype(int) - opened(large.body)
    assert abs(difference).max() <= 1
    assert (difference != 0).mean() < 0.01
