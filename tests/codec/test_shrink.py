"""Sizes that are not a level: the resampling formula, one rounding, and the same result however the rows arrive."""

from typing import Any

import numpy as np
import pytest

from app.codec.shrink import Shrinker
from app.codec.types import Picture
from model.resample import resize
from tests.codec.support import FORMULAS, Array, bicubic, codec, nearest, opened, picture, pixels, saved, wanted

SIZES = [((40, 60), (30, 45)), ((40, 60), (39, 59)), ((41, 64), (7, 9)), ((40, 60), (1, 1)), ((3, 200), (2, 150))]


def _values(size: tuple[int, int], channels: int) -> Array:
    return picture(*size, channels, np.uint16).astype(np.float32)


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_rows_equal_those_of_the_resampling_formula_rounded_once(source: Any, target: Any) -> None:
    values = _values(source, 3)
    found = Shrinker(source, target, 16, FORMULAS).add(values)
    expected = np.stack([resize(values[..., c], *target) for c in range(3)], axis=-1).clip(0, 65535)
    assert found.shape == (*target, 3)
    assert np.abs(found - expected).max() <= 0.51  # half a code, plus the error of float32
    eight = Shrinker(source, target, 8, FORMULAS).add(values)
    assert np.abs(eight - expected / 257).max() <= 0.5 + 1e-3


@pytest.mark.parametrize(("source", "target"), SIZES)
@pytest.mark.parametrize("step", [1, 3, 16])
def test_adding_rows_in_portions_does_not_change_the_result(source: Any, target: Any, step: int) -> None:
    values = _values(source, 2)
    shrinker = Shrinker(source, target, 16, FORMULAS)
    parts = [shrinker.add(values[at : at + step]) for at in range(0, source[0], step)]
    assert np.array_equal(np.concatenate(parts), Shrinker(source, target, 16, FORMULAS).add(values))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_flat_pictures_stay_exact(channels: int, dtype: type) -> None:
    colors = picture(1, 1, channels, dtype)
    colors[..., -1] |= 1
    flat = np.broadcast_to(colors, (20, 30, channels)).copy()
    assert np.array_equal(_made(saved_png(flat), 4, (53, 80)), np.broadcast_to(colors, (53, 80, channels)))


def saved_png(samples: Array) -> bytes:
    from tests.codec.png_reference import write_png

    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[samples.shape[2]]
    return write_png(samples, color_type, samples.itemsize * 8)


def _made(data: bytes, level: int, size: tuple[int, int], consistent: bool = True, **options: Any) -> Array:
    service = codec(consistent=consistent)
    decoded = service.decode(data, wanted(level, **options))
    planes = [[bicubic(plane, level) for plane in frame.planes] for frame in decoded.frames]
    return pixels(service.encode(decoded, planes, level, wanted(level, **options), size).body)


@pytest.mark.parametrize("target", ["png", "webp", "tiff", "jxl"])
def test_every_format_gets_the_requested_size(target: Any) -> None:
    data = saved(picture(20, 30, 4) | np.uint8(1), "PNG")
    assert _made(data, 2, (30, 45), format=target).shape[:2] == (30, 45)


def test_alpha_is_reduced_like_the_other_channels() -> None:
    alpha = picture(20, 30, 1) | np.uint8(1)
    rgba = np.concatenate([np.full((20, 30, 3), 90, np.uint8), alpha], axis=2)
    gray = _made(saved(alpha, "PNG"), 4, (60, 90), consistent=False)
    assert np.abs(_made(saved(rgba, "PNG"), 4, (60, 90), consistent=False)[..., 3:].astype(int) - gray).max() <= 1


@pytest.mark.usefixtures("written_in_bands")
def test_a_large_picture_written_in_bands_is_the_same_as_at_once() -> None:
    """With rows arriving 37 at a time, and with all of them at once."""
    service, data = codec(consistent=True), saved(picture(600, 120, 3), "PNG")
    decoded = service.decode(data, wanted(4))
    planes = [[nearest(plane, 4) for plane in frame.planes] for frame in decoded.frames]
    size = (2000, 400)
    at_once = service.encode(decoded, planes, 4, wanted(4), size).body
    encoder = service.encoder(decoded, 4, wanted(4), size)
    for rows in range(37, 600, 37):
        while encoder.advance(planes, rows):
            pass
    assert encoder.rows > 500
    assert encoder.finish(planes).body == at_once
    assert opened(at_once).size == size[::-1]


def test_numpy_and_c_agree(compiled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.codec import merge

    data = saved(picture(21, 30, 4) | np.uint8(1), "PNG")
    by_c = _made(data, 4, (50, 71))
    monkeypatch.setattr(merge, "library", lambda: None)
    assert np.abs(_made(data, 4, (50, 71)).astype(int) - by_c).max() <= 1


def test_values_are_clipped_before_they_are_reduced() -> None:
    luma = np.zeros((2, 2), np.float32)
    merged = codec()._formulas
    from app.codec.merge import Merger

    values = Merger(Picture(luma), 2, None, merged, consistent=False).rows([np.full((4, 4), -1, np.float32)], 0, 2)
    assert values.dtype == np.float32
    assert not values.any()
