"""Results are as bright as their source, however far the network overshoots, and flat pictures stay exact."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from app.codec import consistency
from app.codec.merge import Merger, merge
from app.codec.split import split
from app.codec.types import Plane, Samples
from model.evaluate import luma_8bit, pad
from model.quality import psnr
from model.resample import resize
from model.runtime import Runtime, Weights
from tests.codec.support import FORMULAS, Array, bicubic, nearest, picture

WINDOW = 16  # source pixels, in each direction
LUMA = np.array([0.299, 0.587, 0.114])
SHAPES = [(1, 1), (1, 9), (3, 4), (5, 2), (33, 17)]

Upscale = Callable[[Plane, int], Plane]


def overshooting(plane: Plane, scale: int) -> Plane:
    """Bicubic with exaggerated detail, which goes beyond black and white further than a network does."""
    padded = np.pad(plane, 1, mode="edge")
    height, width = plane.shape
    soft = np.mean([padded[y : y + height, x : x + width] for y in range(3) for x in range(3)], axis=0)
    return (bicubic(plane, scale) + 1.5 * bicubic(plane - soft, scale)).astype(np.float32)


def drawings() -> dict[str, Array]:
    """Drawings whose brightness is hardest to keep: one-pixel detail across the whole range."""
    y, x = np.mgrid[0:64, 0:64]
    random = np.random.default_rng(0)
    checkers = (x + y) % 2 > 0
    shade = np.clip((x * 3 + y) / 255, 0, 1)
    order = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])
    dots = random.random((64, 64)) < 0.2

    def drawn(where: Array, there: tuple[int, ...], elsewhere: tuple[int, ...]) -> Array:
        return np.where(where[..., None], np.array(there, np.uint8), np.array(elsewhere, np.uint8))

    return {
        "white and gray": drawn(checkers, (255,), (128,)),
        "white and black": drawn(checkers, (255,), (0,)),
        "coarse checkers": drawn((x // 2 + y // 2) % 2 > 0, (255,), (0,)),
        "half of it flat": np.where(x < 33, 200, drawn(checkers, (255,), (128,))[..., 0])[..., None].astype(np.uint8),
        "stripes": drawn(x % 2 > 0, (255,), (0,)),
        "random dither": drawn(random.random((64, 64)) < shade, (255,), (0,)),
        "ordered dither": drawn((order[y % 4, x % 4] + 0.5) / 16 < shade, (255,), (0,)),
        "dots": drawn(dots, (0,), (255,)),
        "red and white": drawn(checkers, (255, 0, 0), (255, 255, 255)),
        "red and blue": drawn(checkers, (255, 0, 0), (0, 0, 255)),
        "yellow dots": drawn(dots, (255, 255, 0), (20, 20, 60)),
    }


def photographs() -> dict[str, Array]:
    """1/f noise, as in photographs, clipped to white and to black in places."""
    made = {}
    frequencies = np.hypot(np.fft.fftfreq(70)[:, None], np.fft.fftfreq(90)[None])
    for contrast in (60, 100):
        random = np.random.default_rng(contrast)
        waves = np.fft.fft2(random.normal(size=(3, 70, 90))) / np.maximum(frequencies, 1 / 90)
        noise = np.fft.ifft2(waves).real
        noise = (noise + 2 * noise.mean(axis=0)) / noise.std()
        made[f"noise {contrast}"] = np.moveaxis(np.clip(128 + contrast * noise, 0, 255).astype(np.uint8), 0, 2)
    return made


PICTURES = drawings() | photographs()


def consistent(samples: Samples, upscale: Upscale, scale: int) -> Samples:
    """The service's result for samples of 8 or 16 bits."""
    source = split(samples, FORMULAS)
    planes = [upscale(plane, scale) for plane in source.planes]
    depth: Literal[8, 16] = 8 if samples.itemsize == 1 else 16
    return merge(source, planes, scale, depth, FORMULAS, consistent=True)


def differences(source: Array, result: Array, step: int = 1) -> Array:
    """Differences of the means of windows of up to 16 x 16 source pixels, in levels, at multiples of `step`.

    (windows down, windows across, C)
    """
    height, width, channels = source.shape
    scale = result.shape[0] // height
    shrunk = result.reshape(height, scale, width, scale, channels).mean(axis=(1, 3))
    levels = (shrunk - source) * (255 / np.iinfo(source.dtype).max)
    sums = np.pad(levels, ((1, 0), (1, 0), (0, 0))).cumsum(axis=0).cumsum(axis=1)
    down, across = min(WINDOW, height), min(WINDOW, width)
    windows = sums[down:, across:] - sums[:-down, across:] - sums[down:, :-across] + sums[:-down, :-across]
    means: Array = windows[::step, ::step] / (down * across)
    return means


def assert_agrees(source: Array, result: Array) -> None:
    """The promise of docs/formats.md."""
    assert np.abs(differences(source, result, consistency.BLOCK)).max() <= 2.0
    anywhere = differences(source, result)
    assert np.abs(anywhere @ LUMA if source.shape[2] == 3 else anywhere[..., 0]).max() <= 3.0


@pytest.mark.parametrize("scale", [2, 4, 8])
@pytest.mark.parametrize("name", PICTURES)
def test_overshooting_results_are_as_bright_as_their_source(name: str, scale: int) -> None:
    assert_agrees(PICTURES[name], consistent(PICTURES[name], overshooting, scale))


def test_without_the_correction_the_fake_network_is_far_off() -> None:
    """Otherwise the tests above would prove nothing."""
    for name in ("white and gray", "random dither", "red and white", "noise 100"):
        source = split(PICTURES[name], FORMULAS)
        plain = merge(source, [overshooting(source.luma, 4)], 4, 8, FORMULAS)
        assert np.abs(differences(PICTURES[name], plain)).max() > 8, name


@pytest.fixture(scope="module")
def network(weights: Path) -> Upscale:
    """The shipped network, in its float32 definition."""
    runtime: Runtime = Weights.open(weights).runtime("cpu", "float32", "torch")

    def upscale(plane: Plane, scale: int) -> Plane:
        large: Plane = runtime.run(pad(plane, runtime.info.window_margin)[None], scale)[scale][0].copy()
        return large

    return upscale


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("name", PICTURES)
def test_results_of_the_network_are_as_bright_as_their_source(network: Upscale, name: str, scale: int) -> None:
    assert_agrees(PICTURES[name], consistent(PICTURES[name], network, scale))


@pytest.mark.slow
def test_corrected_photographs_are_as_bright_as_their_source_and_have_a_higher_psnr(
    network: Upscale, bench_dir: Path
) -> None:
    served, alone = [], []
    for small in sorted((bench_dir / "Set5" / "LRx4").glob("*.png")):
        with Image.open(small) as low, Image.open(bench_dir / "Set5" / "HR" / small.name) as high:
            samples, truth = np.asarray(low.convert("RGB")), np.asarray(high.convert("RGB"))
        planes = [network(split(samples, FORMULAS).luma, 4)]
        result = merge(split(samples, FORMULAS), planes, 4, 8, FORMULAS, consistent=True)
        assert np.abs(differences(samples, result)).max() <= 1.0
        served.append(psnr(luma_8bit(result), luma_8bit(truth), 4))
        alone.append(psnr(luma_8bit(merge(split(samples, FORMULAS), planes, 4, 8, FORMULAS)), luma_8bit(truth), 4))
    assert np.mean(served) >= 31.77
    assert np.mean(served) >= np.mean(alone) + 0.015


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_flat_grays_are_exact_at_every_level(implementation: str, scale: int) -> None:
    for level in range(256):
        flat = np.full((5, 6, 1), level, np.uint8)
        assert (consistent(flat, nearest, scale) == level).all(), level
    for level in (0, 1, 255, 256, 32767, 65534, 65535):
        assert (consistent(np.full((5, 6, 1), level, np.uint16), nearest, scale) == level).all(), level


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_flat_colors_are_exact(implementation: str, scale: int) -> None:
    corners = [[r, g, b] for r in (0, 255) for g in (0, 255) for b in (0, 255)]
    colors = np.array([*corners, *np.random.default_rng(scale).integers(0, 256, (60, 3))], np.uint8)
    for color in colors:
        flat = np.broadcast_to(color, (5, 6, 3))
        assert (consistent(flat, nearest, scale) == color).all(), color


def test_sixteen_bit_samples_and_alpha_are_as_bright_as_their_source() -> None:
    dither = PICTURES["random dither"]
    wide = dither.astype(np.uint16) * 257
    assert_agrees(wide, consistent(wide, overshooting, 4))
    both = np.concatenate([PICTURES["ordered dither"] // 2 + 60, dither], axis=2)
    assert_agrees(dither, consistent(both, overshooting, 4)[..., 1:])
    colored = np.concatenate([PICTURES["yellow dots"], dither], axis=2)
    assert_agrees(dither, consistent(colored, overshooting, 2)[..., 3:])


def test_an_opaque_alpha_stays_opaque(implementation: str) -> None:
    samples = np.concatenate([PICTURES["red and blue"], np.full((64, 64, 1), 255, np.uint8)], axis=2)
    result = consistent(samples, overshooting, 2)
    assert (result[..., 3] == 255).all()
    assert np.array_equal(result[..., :3], consistent(PICTURES["red and blue"], overshooting, 2))


def test_means_within_half_a_level_are_left_unchanged() -> None:
    values = np.random.default_rng(0).random((2, 21, 34), np.float32) * 300 - 20
    means = consistency.block_means(values.clip(0, 255), 8)
    assert np.array_equal(consistency.shifted(values, means + np.float32(0.49), 8, 255), values)
    assert np.array_equal(consistency.shifted(values, means - np.float32(0.49), 8, 255), values)


@pytest.mark.parametrize("missing", [-40, -3, -0.6, 0.6, 3, 40])
def test_larger_differences_of_means_are_corrected(missing: float) -> None:
    """If nothing is clipped, one step corrects all of a difference d but 0.5²/d levels."""
    values = np.random.default_rng(0).random((2, 21, 34), np.float32) * 100 + 70
    means = consistency.block_means(values, 8)
    found = consistency.shifted(values, means + np.float32(missing), 8, 255) - values
    np.testing.assert_allclose(found, missing - 0.25 / missing, rtol=0, atol=1e-4)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_the_residual_is_the_difference_from_the_shrunk_plane(scale: int) -> None:
    random = np.random.default_rng(scale)
    source = random.random((9, 7), np.float32)
    enlarged = random.random((9 * scale, 7 * scale), np.float32) * 2 - 0.5
    weights, offset = FORMULAS.downsample_kernel(scale)
    found = consistency.residual(source, enlarged, (0.1, 0.9), (weights.astype(np.float32), offset), 2, 9)
    expected = source - resize(enlarged.clip(0.1, 0.9), 9, 7)
    np.testing.assert_allclose(found, expected[2:], rtol=0, atol=1e-6)


def cuts(height: int) -> Iterator[list[int]]:
    """Ways to divide the rows into bands, from the top down."""
    yield [0, height]
    yield [*range(0, height, 16), height]
    yield [*range(height + 1)]
    yield sorted({0, 1, 7, 8, 30, height} & set(range(height + 1)))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_bands_and_threads_do_not_change_the_result(implementation: str, channels: int) -> None:
    samples = picture(41, 23, channels)
    source = split(samples, FORMULAS)
    planes = [overshooting(plane, 2) for plane in source.planes]
    whole = merge(source, planes, 2, 8, FORMULAS, consistent=True)
    with ThreadPoolExecutor(3) as pool:
        for places in cuts(41):
            merger = Merger(source, 2, 8, FORMULAS, consistent=True)
            back, ahead = merger.reach
            bands = []
            for first, last in pairwise(places):
                there = [np.full_like(plane, np.nan) for plane in planes]
                rows = slice(max(0, first - back) * 2, (last + ahead) * 2)
                for mine, plane in zip(there, planes, strict=True):
                    mine[rows] = plane[rows]
                bands.append(merger.rows(there, first, last, pool))
            assert np.array_equal(np.concatenate(bands), whole)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("scale", [2, 4, 8])
def test_c_and_numpy_agree(
    compiled: str, scale: int, channels: int, dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Except for values half-way between two codes, and offsets that differ after two steps of Newton's method."""
    depth: Literal[8, 16] = 8 if dtype is np.uint8 else 16
    tolerance = 1 if depth == 8 else 8
    for height, width in SHAPES:
        source = split(picture(height, width, channels, dtype), FORMULAS)
        planes = [overshooting(plane, scale) for plane in source.planes]
        found = merge(source, planes, scale, depth, FORMULAS, consistent=True)
        with monkeypatch.context() as context:
            context.setattr("app.codec.merge.library", lambda: None)
            expected = merge(source, planes, scale, depth, FORMULAS, consistent=True)
        apart = np.abs(found.astype(int) - expected)
        assert apart.max() <= tolerance
        assert (apart > 0).mean() <= (0.001 if depth == 8 else 0.1)


def test_cleaned_luma_is_only_corrected_in_brightness(implementation: str) -> None:
    """Detail that was cleaned away is not added back; blocks keep their brightness. Alpha is not cleaned."""
    checks = np.indices((24, 40)).sum(axis=0) % 2
    noise = (120 + 12 * checks).astype(np.uint8)  # the same mean in every block
    source = split(np.stack([noise, noise], axis=-1), FORMULAS)
    flat = np.full((96, 160), FORMULAS.gray_offset + FORMULAS.gray_gain * 126 / 255, np.float32)
    planes = [flat, np.full((96, 160), np.float32(126 / 255))]
    cleaned = merge(source, planes, 4, 8, FORMULAS, consistent=True, cleaned=True)
    assert (cleaned[..., 0] == 126).all()
    assert np.ptp(cleaned[..., 1].astype(int)) > 8
    plain = merge(source, planes, 4, 8, FORMULAS, consistent=True)
    assert np.ptp(plain[..., 0].astype(int)) > 8
    np.testing.assert_array_equal(plain[..., 1], cleaned[..., 1])
    darker = merge(source, [flat - np.float32(0.1), planes[1]], 4, 8, FORMULAS, consistent=True, cleaned=True)
    assert abs(float(darker[..., 0].mean()) - 126) <= 1


@pytest.mark.parametrize("name", PICTURES)
def test_cleaned_results_are_as_bright_as_their_source(name: str) -> None:
    source = split(PICTURES[name], FORMULAS)
    planes = [overshooting(plane, 4) for plane in source.planes]
    assert_agrees(PICTURES[name], merge(source, planes, 4, 8, FORMULAS, consistent=True, cleaned=True))
