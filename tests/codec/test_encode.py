"""Encoding: every format holds the expected picture, and what a format cannot hold is refused before the work."""

import shutil
import subprocess
import zlib
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from app.codec import Decoded, Metadata
from app.codec.merge import merge
from app.codec.raster import Raster
from app.codec.split import split
from app.codec.writers import png
from app.errors import BadParameter
from app.formats import OUTPUT_FORMATS, WritableFormat, format_of
from app.options import UpscaleOptions
from bench.png import screenshot
from tests.codec.png_reference import chunks
from tests.codec.support import (
    FORMULAS,
    Array,
    assert_same,
    bicubic,
    codec,
    nearest,
    opened,
    picture,
    pixels,
    saved,
    upscaled,
    wanted,
)

KINDS = [(channels, dtype) for channels in (1, 2, 3, 4) for dtype in (np.uint8, np.uint16)]


def write(
    frames: Sequence[Array],
    metadata: Metadata,
    durations_ms: Sequence[int] = (),
    loop: int = 0,
    executor: Executor | None = None,
) -> bytes:
    """A PNG written by the codec."""
    return png.write(Raster(tuple(frames), "PNG", metadata, tuple(durations_ms), loop), wanted(), executor)


def _pngcheck(body: bytes, folder: Path) -> str:
    tool = shutil.which("pngcheck")
    if tool is None:
        pytest.skip("pngcheck is not installed")
    path = folder / "picture.png"
    path.write_bytes(body)
    done = subprocess.run([tool, "-v", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize(("channels", "dtype"), KINDS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (9, 1), (7, 5), (200, 300)])
def test_a_png_can_be_read_back_exactly(height: int, width: int, channels: int, dtype: type) -> None:
    for name, samples in (
        ("noise", picture(height, width, channels, dtype)),
        ("flat", np.full((height, width, channels), 77, dtype)),
        ("ramp", np.indices((height, width, channels)).sum(axis=0).astype(dtype)),
    ):
        body = write([samples], Metadata())
        label = f"png-{name}-{height}-{width}-{channels}-{dtype.__name__}"
        if height < 100:
            assert_same(pixels(body), samples, label)
        if dtype is np.uint8 or channels == 1:
            by_pillow = np.asarray(opened(body))
            assert_same(by_pillow.reshape(samples.shape).astype(dtype), samples, label)


@pytest.mark.parametrize(("channels", "dtype"), KINDS)
def test_libpng_reads_every_kind_of_png_exactly(channels: int, dtype: type) -> None:
    import imagecodecs

    samples = picture(61, 43, channels, dtype)
    assert np.array_equal(imagecodecs.png_decode(write([samples], Metadata())).reshape(samples.shape), samples)


def test_a_png_compressed_in_several_strips_is_complete() -> None:
    samples = picture(2400, 2500, 3) // 32  # eighteen strips of a megabyte
    assert np.array_equal(np.asarray(opened(write([samples], Metadata()))), samples)


def test_compressing_strips_in_threads_gives_the_same_file() -> None:
    from concurrent.futures import ThreadPoolExecutor

    samples = picture(2400, 2500, 3) // 32
    with ThreadPoolExecutor(3) as pool:
        assert write([samples], Metadata(), executor=pool) == write([samples], Metadata())


@pytest.mark.parametrize(("channels", "dtype"), KINDS)
def test_pngcheck_accepts_every_kind_of_png(channels: int, dtype: type, tmp_path: Path) -> None:
    body = write([picture(900, 700, channels, dtype)], Metadata(srgb=True, dpi=(72, 72), xmp=b"<x/>"))
    assert "No errors detected" in _pngcheck(body, tmp_path)


def test_pngcheck_accepts_animations(tmp_path: Path) -> None:
    body = write([picture(9, 7, 4, seed=seed) for seed in range(3)], Metadata(), [10, 70_000, 30], 5)
    _pngcheck(body, tmp_path)
    image = opened(body)
    assert (getattr(image, "n_frames", 1), image.info["loop"]) == (3, 5)
    image.seek(1)
    assert image.info["duration"] == 70_000


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("target", ["webp", "tiff"])
def test_lossless_formats_are_exact(target: Any, channels: int) -> None:
    samples = picture(7, 5, channels)
    samples[..., -1] = np.maximum(samples[..., -1], 1)
    _, encoded = upscaled(saved(samples, "PNG"), encode=wanted(format=target))
    assert encoded.media_type == f"image/{target}"
    found = np.asarray(opened(encoded.body))
    expected: Array = samples.repeat(3, axis=2) if (target, channels) == ("webp", 1) else samples
    assert_same(found.reshape(expected.shape), expected, f"{target}-{channels}")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_tiff_holds_sixteen_bits(channels: int, tmp_path: Path) -> None:
    samples = picture(7, 5, channels, np.uint16)
    samples[..., -1] = np.maximum(samples[..., -1], 1)
    _, source = upscaled(write([samples], Metadata()), encode=wanted(format="tiff"))
    (tmp_path / "picture.tif").write_bytes(source.body)
    assert_same(tifffile.imread(tmp_path / "picture.tif").reshape(samples.shape), samples, f"tiff-16-{channels}")
    _, again = upscaled(source.body)
    assert_same(pixels(again.body), samples, f"tiff-16-back-{channels}")


@pytest.mark.parametrize(
    ("options", "worst"),
    [
        (wanted(format="jpeg"), 12),
        (wanted(format="jpeg", quality=100), 4),
        (wanted(format="webp", quality=90), 25),
        (wanted(format="webp", lossless=False), 25),
        (wanted(format="avif"), 25),
        (wanted(format="avif", quality=100), 6),
        (wanted(format="jxl", lossless=False), 30),
        (wanted(format="jxl", quality=100), 6),
    ],
)
def test_lossy_results_are_close_to_the_source(options: UpscaleOptions, worst: int) -> None:
    rows, columns = np.indices((40, 48))
    samples = np.stack([rows * 5, columns * 5, 200 - rows * 2 - columns], axis=-1).astype(np.uint8)
    _, encoded = upscaled(saved(samples, "PNG"), encode=options)
    assert_same(pixels(encoded.body), samples, f"lossy-{options}", tolerance=worst)


@pytest.mark.parametrize("target", ["jpeg", "webp", "avif", "jxl"])
def test_lower_quality_gives_smaller_files(target: Any) -> None:
    data = saved(picture(40, 48, 3), "PNG")
    sizes = [len(upscaled(data, encode=wanted(format=target, quality=quality))[1].body) for quality in (20, 60, 95)]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 3


@pytest.mark.parametrize("target", ["jpeg", "webp", "avif"])
def test_sixteen_bits_become_eight_in_formats_without_more(target: Any) -> None:
    samples = np.full((16, 16, 3), 128 * 257, np.uint16)
    _, encoded = upscaled(write([samples], Metadata()), encode=wanted(format=target))
    assert_same(np.asarray(opened(encoded.body)), np.full((16, 16, 3), 128, np.uint8), f"deep-{target}", tolerance=1)


@pytest.mark.parametrize(
    ("options", "channels", "scale", "words"),
    [
        (wanted(format="jpeg", quality=0), 3, 4, "1..100"),
        (wanted(format="webp", quality=101), 3, 4, "1..100"),
        (wanted(format="png", quality=80), 3, 4, "quality is for lossy formats"),
        (wanted(format="webp", quality=80, lossless=True), 3, 4, "quality is for lossy formats"),
        (wanted(format="jpeg", lossless=True), 3, 4, "choose png, webp, tiff or jxl"),
        (wanted(format="jpeg"), 4, 4, "transparent"),
        (wanted(format="webp"), 3, 4000, "at most 16383 pixels a side"),
    ],
)
def test_options_that_do_not_suit_the_format_or_picture_are_refused(
    options: UpscaleOptions, channels: int, scale: int, words: str
) -> None:
    service = codec()
    decoded = service.decode(saved(picture(7, 5, channels), "PNG"), wanted(scale=4))
    with pytest.raises(BadParameter, match=words):
        service.check(decoded, scale, options)


def test_a_picture_with_opaque_alpha_can_become_a_jpeg() -> None:
    samples = picture(8, 8, 4)
    samples[..., 3] = 255
    _, encoded = upscaled(saved(samples, "PNG"), encode=wanted(format="jpeg"))
    assert opened(encoded.body).mode == "RGB"


ROWS = pytest.mark.parametrize("row", OUTPUT_FORMATS.values(), ids=lambda row: row.name)


def _written(row: WritableFormat, data: bytes, encode: dict[str, Any], **options: Any) -> Decoded | None:
    """A result in the format of the row, read back; None if it is refused."""
    try:
        _, encoded = upscaled(data, encode=wanted(format=row.name, **encode), **options)
    except BadParameter:
        return None
    assert (format_of(encoded.body), encoded.media_type) == (row, row.media_type)
    return codec().decode(encoded.body, wanted(frames="all"))


@ROWS
def test_a_format_supports_exactly_what_its_row_declares(row: WritableFormat) -> None:
    samples = picture(16, 16, 4)
    film = write([samples, samples[::-1]], Metadata(), [40, 40])
    with_alpha, animated = _written(row, saved(samples, "PNG"), {}), _written(row, film, {}, frames="all")
    assert (with_alpha is not None and with_alpha.frames[0].alpha is not None) == row.alpha
    assert (animated is not None and len(animated.frames) == 2) == row.animation
    deep = _written(row, write([picture(16, 16, 3, np.uint16)], Metadata()), {})
    assert deep is not None
    assert (deep.depth == 16) == row.sixteen_bits


@ROWS
def test_a_format_accepts_quality_and_lossless_only_if_it_supports_them(row: WritableFormat) -> None:
    data = saved(picture(16, 16, 3), "PNG")
    source, exact = codec().decode(data, wanted()), _written(row, data, {"lossless": True})
    assert (exact is not None) == row.lossless
    if exact is not None:
        assert np.array_equal(exact.frames[0].luma, source.frames[0].luma)
    coarse = _written(row, data, {"quality": 30})
    assert (coarse is not None) == row.lossy
    if coarse is not None:
        assert not np.array_equal(coarse.frames[0].luma, source.frames[0].luma)


def test_the_encoder_reports_its_time() -> None:
    service = codec()
    decoded = service.decode(saved(picture(7, 5, 1), "PNG"), wanted(scale=4))
    encoder = service.encoder(decoded, 4, wanted())
    encoded = encoder.finish([[nearest(plane, 4) for plane in decoded.planes]])
    assert (opened(encoded.body).size, encoded.media_type) == ((20, 28), "image/png")
    assert encoder.merge_seconds > 0
    assert encoder.encode_seconds > 0
    assert np.array_equal(pixels(encoded.body)[..., 0], nearest(picture(7, 5, 1)[..., 0], 4))


def test_pngs_are_only_slightly_larger_than_those_of_pillow(bench_dir: Path) -> None:
    sizes = []
    for name in ("baby", "bird", "butterfly", "head", "woman"):
        small = np.asarray(Image.open(bench_dir / "Set5" / "LRx4" / f"{name}.png").convert("RGB"))
        planes = split(small, FORMULAS)
        samples = merge(planes, (bicubic(planes.luma, 4),), 4, 8, FORMULAS)
        sizes.append((len(write([samples], Metadata())), len(saved(samples, "PNG"))))
    assert all(ours <= 1.1 * pillows for ours, pillows in sizes)
    assert sum(ours for ours, _ in sizes) <= 1.06 * sum(pillows for _, pillows in sizes)


def test_a_drawing_compresses_about_as_well_as_with_pillow() -> None:
    samples: Array = np.full((600, 800, 3), 246, np.uint8)
    rng = np.random.default_rng(0)
    glyph = (rng.integers(0, 2, (9, 7, 1)) * 200).astype(np.uint8)
    for row, column in rng.integers(0, 580, (900, 2)):
        samples[row : row + 9, column : column + 7] = glyph
    assert len(write([samples], Metadata())) <= 1.06 * len(saved(samples, "PNG"))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_screenshot_is_left_unfiltered_except_for_repeated_rows(dtype: type) -> None:
    samples: Array = screenshot(400, 640).astype(dtype)
    body = write([samples], Metadata())
    assert_same(pixels(body), samples, f"screenshot-{dtype.__name__}")
    if dtype is np.uint8:
        assert len(body) <= 1.06 * len(saved(samples, "PNG"))
    data = b"".join(content for kind, content in chunks(body) if kind == b"IDAT")
    kinds = np.frombuffer(zlib.decompress(data), np.uint8).reshape(400, -1)[:, 0]
    repeats = (samples[1:] == samples[:-1]).all(axis=(1, 2))
    assert kinds[0] == 0
    assert np.array_equal(kinds[1:], np.where(repeats, 2, 0))


@pytest.mark.parametrize("noise", [0, 3, 40])
def test_strips_of_a_photograph_are_read_back_exactly(noise: int) -> None:
    rows, columns = np.indices((2200, 2600), dtype=np.int32)
    smooth = 128 + 60 * np.sin(rows / 50) * np.cos(columns / 70)
    grain = np.random.default_rng(noise).integers(-noise, noise, smooth.shape, endpoint=True)
    values = np.stack([smooth, smooth * 0.5 + 30, 220 - smooth], axis=-1) + grain[..., None]
    samples = np.clip(values, 0, 255).astype(np.uint8)
    assert np.array_equal(np.asarray(opened(write([samples], Metadata()))), samples)
