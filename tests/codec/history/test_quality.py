"""The quality a file declares: exact for the tables of libjpeg, close for others, and in the right order."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, JpegPresets

from app.codec import DecodeLimits, Finding, reader
from app.codec.history import avif, jpeg, webp
from app.options import UpscaleOptions
from bench.pictures import photograph

PICTURE = Image.fromarray(photograph(72, 88))


def saved(kind: str, picture: Image.Image = PICTURE, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def found(data: bytes, **options: Any) -> Finding | None:
    return reader.read(data, UpscaleOptions(**options), DecodeLimits()).compression


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_every_quality_of_libjpeg_is_recovered(mode: str) -> None:
    picture = Image.new(mode, (8, 8))
    assert [found(saved("JPEG", picture, quality=quality)) for quality in range(1, 101)] == [
        Finding("jpeg", quality) for quality in range(1, 101)
    ]


def test_progressive_and_subsampled_files_have_the_same_tables() -> None:
    for options in ({"progressive": True}, {"subsampling": "4:4:4"}, {"subsampling": "4:2:0", "optimize": True}):
        assert found(saved("JPEG", quality=83, **options)) == Finding("jpeg", 83)


def loss(**options: Any) -> float:
    """The root-mean-square error of luma after JPEG compression."""
    with Image.open(io.BytesIO(saved("JPEG", PICTURE.convert("L"), **options))) as coded:
        return float(np.sqrt(np.mean((np.asarray(coded, float) - np.asarray(PICTURE.convert("L"), float)) ** 2)))


@pytest.mark.parametrize("preset", ["web_medium", "web_high", "low", "high", "maximum"])
def test_tables_of_an_editor_get_the_libjpeg_quality_with_equal_loss(preset: str) -> None:
    """The tables of Photoshop, which are not multiples of libjpeg's."""
    tables = JpegPresets.presets[preset]["quantization"]
    compression = found(saved("JPEG", qtables=tables))
    assert compression is not None
    assert compression.amount not in (1, 100)
    lost = loss(qtables=tables)
    assert loss(quality=min(100, compression.amount + 8)) < lost < loss(quality=compression.amount - 8)


@given(st.lists(st.integers(1, 65535), min_size=64, max_size=64))
def test_any_table_has_a_quality(steps: Sequence[int]) -> None:
    assert 1 <= jpeg.quality_of(steps) <= 100


@pytest.mark.parametrize("kind", ["WEBP", "AVIF"])
def test_qualities_of_webp_and_avif_are_ordered_and_close_to_the_requested_ones(kind: str) -> None:
    asked = range(0, 101, 20) if kind == "WEBP" else range(10, 100, 20)
    qualities = []
    for quality in asked:
        compression = found(saved(kind, quality=quality))
        assert compression is not None
        assert compression.kind == kind.lower()
        qualities.append(compression.amount)
    assert qualities == sorted(set(qualities))
    assert max(abs(one - other) for one, other in zip(qualities, asked, strict=True)) <= 10


@pytest.mark.parametrize("kind", ["WEBP", "AVIF"])
def test_alpha_and_metadata_hardly_change_the_quality(kind: str) -> None:
    plain = found(saved(kind, quality=50))
    transparent = PICTURE.copy()
    transparent.putalpha(Image.linear_gradient("L").resize(PICTURE.size))
    exif = Image.Exif()
    exif[0x0112] = 6
    for data in (saved(kind, transparent, quality=50), saved(kind, quality=50, exif=exif)):
        compression = found(data)
        assert plain is not None
        assert compression is not None
        assert abs(compression.amount - plain.amount) <= 3


@pytest.mark.parametrize("kind", ["WEBP", "AVIF"])
def test_an_animation_has_the_quality_of_its_first_frame(kind: str) -> None:
    frames: dict[str, Any] = {"save_all": True, "append_images": [PICTURE.rotate(30)], "duration": 40}
    low, high = (found(saved(kind, quality=quality, **frames), frames="first") for quality in (20, 90))
    assert low is not None
    assert high is not None
    assert low.amount < 60 < high.amount


@pytest.mark.parametrize(
    "data",
    [
        saved("WEBP", lossless=True),
        saved("WEBP", lossless=True, save_all=True, append_images=[PICTURE.rotate(30)]),
        saved("AVIF", quality=100, subsampling="4:4:4"),
        saved("PNG"),
        saved("TIFF"),
        saved("BMP"),
    ],
    ids=["webp", "webp animation", "avif", "png", "tiff", "bmp"],
)
def test_lossless_files_have_no_quality(data: bytes) -> None:
    assert found(data, frames="first") is None


@pytest.mark.parametrize("options", [{"tile_rows": 1, "tile_cols": 1}, {"autotiling": True}, {"speed": 10}])
def test_av1_headers_of_large_pictures_are_read(options: dict[str, Any]) -> None:
    """In them, the division into tiles precedes the quantiser."""
    large = Image.fromarray(np.tile(photograph(160, 160), (8, 9, 1)))
    data = saved("AVIF", large, quality=50, **({"speed": 9} | options))
    small = found(saved("AVIF", quality=50))
    assert small is not None
    assert abs((avif.quality_of(data) or 0) - small.amount) <= 8


def test_a_layered_avif_has_no_quality() -> None:
    """The first layer of a progressive AVIF is a preview; here, another box is renamed to that of layers."""
    data = saved("AVIF", quality=50)
    assert avif.quality_of(data) is not None
    assert avif.quality_of(data.replace(b"colrnclx", b"a1lxnclx")) is None


FILES = {kind: saved(kind, quality=50) for kind in ("WEBP", "AVIF")}


@given(kind=st.sampled_from(sorted(FILES)), data=st.data())
def test_damaged_headers_give_a_quality_or_none(kind: str, data: st.DataObject) -> None:
    file = bytearray(FILES[kind])
    for _ in range(data.draw(st.integers(1, 6))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(file[: data.draw(st.integers(0, len(file)))])
    for damaged in (bytes(file), cut):
        quality = (webp if kind == "WEBP" else avif).quality_of(damaged)
        assert quality is None or 0 <= quality <= 100
