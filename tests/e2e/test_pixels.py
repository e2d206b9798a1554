"""Codec and the shipped network together: flat colours come out as they went in, ramps stay smooth."""

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.build import build_codec
from app.settings import Settings
from model.evaluate import pad
from model.resample import resize
from model.runtime import Runtime, Weights
from tests.codec.support import wanted

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module", params=["winograd float32", "torch float32", "torch bfloat16"])
def runtime(request: pytest.FixtureRequest, weights: Path) -> Runtime:
    """The shipped network on each of the CPU's ways to run it."""
    backend, dtype = request.param.split()
    return Weights.open(weights).runtime("cpu", dtype, backend)


def upscale(runtime: Runtime, picture: Pixels, scale: int = 4) -> Pixels:
    """A PNG of (H, W, 3) through decoder, network, merge and encoder."""
    body = io.BytesIO()
    Image.fromarray(picture).save(body, "PNG")
    codec = build_codec(Settings())
    decoded = codec.decode(body.getvalue(), wanted(scale=scale))
    planes = [
        runtime.run(pad(plane, runtime.info.window_margin)[None], scale)[scale][0] for plane in decoded.frames[0].planes
    ]
    with Image.open(io.BytesIO(codec.encode(decoded, [planes], scale, wanted()).body)) as image:
        return np.asarray(image)


def test_flat_colours_are_exact(runtime: Runtime) -> None:
    corners = [[r, g, b] for r in (0, 255) for g in (0, 255) for b in (0, 255)]
    colours = np.array(corners + np.random.default_rng(5).integers(0, 256, (8, 3)).tolist(), np.uint8)
    for scale in (2, 4):
        for colour in colours:
            out = upscale(runtime, np.broadcast_to(colour, (9, 7, 3)).copy(), scale)
            assert out.shape == (9 * scale, 7 * scale, 3)
            assert (out == colour).all(), f"{colour} became {np.unique(out.reshape(-1, 3), axis=0)}"


@pytest.mark.parametrize("vertical", [False, True], ids=["across", "down"])
@pytest.mark.parametrize(
    "ends",
    [((0, 0, 0), (255, 255, 255)), ((200, 10, 30), (20, 60, 240)), ((90, 140, 220), (180, 205, 240))],
    ids=["gray", "red to blue", "sky"],
)
def test_smooth_ramps_are_within_a_level_of_the_ideal(
    runtime: Runtime, ends: tuple[tuple[int, ...], tuple[int, ...]], vertical: bool
) -> None:
    """The ideal is bicubic in float64, which continues a ramp exactly.

    That is where the ramp is all that the network sees: at the border it is level for a pixel, which may cost a little
    more, and in bfloat16 too.
    """
    along = np.linspace(0, 1, 64)[:, None]
    line = np.round(np.array(ends[0]) * (1 - along) + np.array(ends[1]) * along).astype(np.uint8)
    picture = np.ascontiguousarray(np.broadcast_to(line[None], (24, 64, 3)))
    if vertical:
        picture = np.ascontiguousarray(picture.transpose(1, 0, 2))
    out = upscale(runtime, picture).astype(np.float64)
    ideal = np.stack([resize(picture[..., c].astype(np.float64), *out.shape[:2]) for c in range(3)], axis=-1)
    error = np.abs(out - np.clip(ideal, 0, 255))
    assert error.max() <= 1.6
    border = runtime.info.margin * 4
    assert error[border : error.shape[0] - border, border : error.shape[1] - border].max() <= 1.0
