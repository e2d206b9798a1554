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


async def test_full_strength_equals_the_network_named_for_it(weights: Path) -> None:
    full, named = await upscaled(clean=1.0), await upscaled(model="lapsrn_x4_jpeg")
    assert full.body == named.body
    assert (full.clean, named.clean) == ("1", "1")


@pytest.mark.parametrize("model", [None, "lapsrn_x4"])
async def test_clean_auto_gives_the_result_of_the_strength_it_chose(weights: Path, model: str | None) -> None:
    first = await upscaled(model=model)
    strength, _, found = first.clean.partition("; ")
    assert found == "jpeg=90"
    assert 0 < float(strength) < 1
    assert first.body == (await upscaled(clean=float(strength))).body


@pytest.mark.parametrize(
    ("model", "strength", "name"),
    [
        (None, 0.25, "lapsrn_x4_deep_lanczos"),
        (None, 0.5, "lapsrn_x4_deep_shrunk"),
        (None, 0.75, "lapsrn_x4_deep_aliased"),
        (None, 1.0, "lapsrn_x4_deep_noise"),
        ("lapsrn_x8", 0.25, "lapsrn_x4_lanczos"),
        ("lapsrn_x8", 0.5, "lapsrn_x4_shrunk"),
        ("lapsrn_x8", 1.0, "lapsrn_x4_jpeg"),
    ],
)
async def test_strengths_of_uncompressed_pictures_use_their_own_networks(
    weights: Path, model: str | None, strength: float, name: str
) -> None:
    """Such a picture may have been shrunk in any way, and be noisy."""
    found = await upscaled(picture=LOSSLESS, clean=strength, model=model)
    assert found.clean == f"{strength:g}"
    assert_alike(opened(found.body), cleaned_by(weights.with_stem(name), LOSSLESS))


def assert_alike(found: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> None:
    """Equal but for how sums round, which other tiles and margins may change."""
    difference = found.astype(int) - wanted
    assert abs(difference).max() <= 1
    assert (difference != 0).mean() < 0.01


def cleaned_by(weights: Path, file: bytes) -> NDArray[np.uint8]:
    """The x4 picture of a file with the luma of this network alone."""
    (picture,) = Codec(build_formulas(), build_limits(Settings())).decode(file, UpscaleOptions(scale=4)).frames
    runtime = Weights.open(weights).runtime("cpu")
    luma = runtime.run(pad(picture.luma, runtime.info.window_margin)[None], 4)[4]
    return merge(picture, list(luma), 4, 8, build_formulas(), consistent=True, cleaned=True).astype(np.uint8)


async def test_higher_efforts_score_more(bench_dir: Path) -> None:
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
async def test_a_flat_picture_stays_flat_at_every_effort(weights: Path, quality: MoreEffort | None) -> None:
    body = png(np.full((9, 31, 3), (90, 140, 220), np.uint8))
    for strength in (0.0, 0.375, 1.0):
        result = await upscaled(picture=body, clean=strength, quality=quality)
        assert (opened(result.body) == (90, 140, 220)).all()


async def test_the_x8_network_gives_the_same_x4_picture(weights: Path) -> None:
    """It has the same first levels."""
    small, large = await upscaled(picture=LOSSLESS), await upscaled(picture=LOSSLESS, model="lapsrn_x8")
    assert_alike(opened(small.body), opened(large.body))
