"""The runtime: tiles and whole pictures agree, scales, precision, lack of memory."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.backends.fused import PackedConv
from model.evaluate import pad, upscale
from model.folded import EagerConv
from model.network import LapSRN, LapSRNConfig
from model.runtime import Runtime
from tests.model.networks import DEEP, EXACT, SERVED, form, luma, plane, random_network, runtime_of

CONFIG = LapSRNConfig(scale=4, depth=5, width=8)


@pytest.fixture(scope="module")
def network() -> LapSRN:
    return random_network(CONFIG)


@pytest.fixture(scope="module")
def runtime(network: LapSRN) -> Runtime:
    return runtime_of(network)


def windows(padded: NDArray[np.float32], margin: int, top: int, left: int, height: int, width: int) -> Any:
    return padded[None, top : top + height + 2 * margin, left : left + width + 2 * margin]


def in_tiles(
    runtime: Runtime, picture: NDArray[np.float32], rows: list[int], columns: list[int]
) -> dict[int, NDArray[np.float32]]:
    """The picture computed tile by tile, cut at `rows` and `columns`, into arrays that start as NaN."""
    height, width = picture.shape
    padded = pad(picture, runtime.info.window_margin)
    whole = {s: np.full((height * s, width * s), np.nan, np.float32) for s in runtime.info.scales}
    for top, bottom in zip([0, *rows], [*rows, height], strict=True):
        for left, right in zip([0, *columns], [*columns, width], strict=True):
            tile = windows(padded, runtime.info.window_margin, top, left, bottom - top, right - left).copy()
            for s, core in runtime.run(tile, runtime.info.scales[-1]).items():
                whole[s][top * s : bottom * s, left * s : right * s] = core[0]
    return whole


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns"),
    [
        (1, 1, [], []),
        (1, 23, [], [1, 2, 9, 20]),
        (17, 1, [5, 6], []),
        (5, 7, [1], [3, 4]),
        (9, 10, [8], [1]),
        (21, 33, [7, 8, 19], [1, 10, 32]),
        (32, 31, [16], [15, 16]),
        (40, 24, list(range(1, 40)), [12]),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else None,
)
@pytest.mark.parametrize("config", [CONFIG, replace(DEEP, width=8)], ids=form)
@EXACT
def test_tiles_put_together_are_the_whole_picture_wherever_it_is_cut(
    config: LapSRNConfig, height: int, width: int, rows: list[int], columns: list[int], backend: str, dtype: str
) -> None:
    network, picture = random_network(config), plane(height, width)
    tiled = in_tiles(runtime_of(network, dtype, backend), picture, rows, columns)
    with torch.no_grad():
        whole = upscale(network.fold(), picture)
    for (scale, ours), theirs in zip(tiled.items(), whole, strict=True):
        assert ours.shape == theirs.shape == (height * scale, width * scale)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6)


def test_a_margin_one_pixel_short_would_make_a_seam(runtime: Runtime) -> None:
    """The test above would notice an error at the outermost pixel of the margin."""
    picture = plane(20, 20)
    padded = pad(picture, runtime.info.window_margin)
    tile = windows(padded, runtime.info.window_margin, 8, 8, 6, 6).copy()
    right = runtime.run(tile, 4)[4]
    tile[0, 0] = tile[0, 2]
    wrong = runtime.run(tile, 4)[4]
    assert np.abs(wrong - right)[0, 0].max() > 1e-5
    assert np.abs(wrong - right)[0, 4:].max() < 2e-6


def test_padding_by_hand() -> None:
    assert pad(np.array([[1, 2, 3]], np.float32), 2).tolist() == [[2, 1, 1, 2, 3, 3, 2]] * 5
    assert pad(np.array([[1], [2]], np.float32), 3)[:, 0].tolist() == [2, 2, 1, 1, 2, 2, 1, 1]
    assert pad(np.array([[7]], np.float32), 1).tolist() == [[7] * 3] * 3


def test_scale_2_runs_no_convolution_of_the_second_level(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Level one is the entry, 4 convolutions, a residual and an image; one more leads over; level two has 6."""
    ran: list[type] = []
    for kind in (EagerConv, PackedConv):
        original = kind.__call__

        def counted(self: Any, *arguments: Any, original: Any = original) -> torch.Tensor:
            ran.append(type(self))
            out: torch.Tensor = original(self, *arguments)
            return out

        monkeypatch.setattr(kind, "__call__", counted)
    tiles = luma(1, 5 + 18, 6 + 18).numpy()
    runtime.run(tiles, 2)
    assert len(ran) == 7
    ran.clear()
    runtime.run(tiles, 4)
    assert len(ran) == 7 + 1 + 6


def test_a_scale_that_the_network_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        runtime_of(random_network(CONFIG)).run(np.zeros((1, 19, 19), np.float32), 8)


@SERVED
@pytest.mark.parametrize("config", [CONFIG, replace(DEEP, width=8)], ids=form)
def test_full_precision_is_float32_whatever_dtype_is_served(config: LapSRNConfig, backend: str, dtype: str) -> None:
    network = random_network(config)
    reduced = runtime_of(network, dtype, backend)
    beyond = reduced.info.window_margin - config.margin
    seen = luma(2, 7 + 2 * config.margin, 6 + 2 * config.margin).numpy()
    tiles = np.pad(seen, [(0, 0), (beyond, beyond), (beyond, beyond)], mode="edge")
    redone = reduced.run(tiles, 4, full_precision=True)
    with torch.no_grad():
        expected = network.fold()(torch.from_numpy(seen)[:, None])
    for (_, ours), theirs in zip(redone.items(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs[:, 0].numpy(), rtol=0, atol=2e-6)
    difference = np.abs(reduced.run(tiles, 4)[4] - redone[4]).max()
    assert difference < 2e-6 if dtype == "float32" else 1e-4 < difference < 0.05


def test_outputs_are_float32_whatever_dtype_the_features_have(network: LapSRN) -> None:
    outputs = runtime_of(network, "bfloat16").run(luma(2, 20, 21).numpy(), 4)
    assert {scale: (output.dtype.name, output.shape) for scale, output in outputs.items()} == {
        2: ("float32", (2, 4, 6)),
        4: ("float32", (2, 8, 12)),
    }


def test_warm_up_runs_the_given_core_sizes(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(runtime, "run", lambda tiles, scale: seen.append((tiles.shape, tiles.dtype, scale)))
    runtime.warm_up([(1, 16, 24), (4, 8, 8)])
    assert seen == [((1, 34, 42), np.float32, 4), ((4, 26, 26), np.float32, 4)]
