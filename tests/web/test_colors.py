"""A browser shows a result in the colours of its source, in every output format."""

import base64
from typing import Any

import numpy as np
import pytest

from app.formats import OUTPUT_FORMATS
from tests.codec.png_reference import chunk, write_png
from tests.codec.support import upscaled, wanted

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SIDE = 32
_COLORS = ((20_000, 25_000, 38_000), (38_000, 20_000, 15_000), (30_000, 30_000, 30_000), (12_000, 34_000, 18_000))
_READ = """async ([url, height, width]) => {
    const image = new Image();
    image.src = url;
    await image.decode();
    const context = Object.assign(document.createElement('canvas'), {width, height}).getContext('2d');
    context.drawImage(image, 0, 0);
    return [...context.getImageData(0, 0, width, height).data];
}"""


def _source(*cicp: int) -> bytes:
    """Four flat squares, side by side."""
    samples = np.array(_COLORS, np.uint16)[None].repeat(SIDE, axis=1).repeat(SIDE, axis=0)
    return write_png(samples, 2, 16, extra=[(b"cICP", bytes((*cicp, 0, 1)))] if cicp else [])


def _shown(page: Any, body: bytes, media_type: str) -> list[tuple[int, ...]]:
    """The colour in the middle of each square."""
    url = f"data:{media_type};base64,{base64.b64encode(body).decode()}"
    values = np.array(page.evaluate(_READ, [url, SIDE, 4 * SIDE])).reshape(SIDE, 4 * SIDE, 4)
    return [tuple(values[SIDE // 2, SIDE // 2 + SIDE * index, :3].tolist()) for index in range(4)]


@pytest.mark.parametrize("points", [(9, 16), (9, 18), (12, 13), (9, 8)], ids=["PQ", "HLG", "P3", "linear"])
def test_results_show_the_colours_of_the_source_in_every_format(browser: Any, points: tuple[int, int]) -> None:
    page = browser.new_page()
    source = _source(*points)
    expected = np.array(_shown(page, source, "image/png"))
    assert np.abs(expected - _shown(page, _source(), "image/png")).max() > 15
    for name in ("png", "avif", "jpeg", "webp"):
        _, encoded = upscaled(source, encode=wanted(format=name, lossless=None))
        row = OUTPUT_FORMATS[name]
        assert np.abs(expected - _shown(page, encoded.body, row.media_type)).max() <= 6, name
    page.close()


def test_viewers_without_code_points_show_the_colours_of_the_profile(browser: Any) -> None:
    """The same PNG without cICP."""
    page = browser.new_page()
    _, encoded = upscaled(_source(12, 13))
    kept = encoded.body.replace(chunk(b"cICP", bytes((12, 13, 0, 1))), b"")
    assert len(kept) < len(encoded.body)
    expected = np.array(_shown(page, encoded.body, "image/png"))
    assert np.abs(expected - _shown(page, kept, "image/png")).max() <= 2
    page.close()
