"""The AMX backend: the network's numbers, the same whatever the tile, and nothing touched but its own buffers."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from model.backends.amx import amx
from model.backends.amx.amx import AmxNetwork
from model.backends.registry import by_name, choose
from model.folded import centred
from model.network import LapSRN, LapSRNConfig
from tests.model.networks import SHIPPED, plane, random_network, runtime_at, runtime_of, texture

needs_amx = pytest.mark.skipif(amx.missing() is not None, reason=str(amx.missing()))


@needs_amx
@pytest.mark.parametrize("width", [3, 16, 64])
@pytest.mark.parametrize(("scale", "depth"), [(2, 1), (2, 5), (4, 1), (4, 2), (4, 5), (4, 10), (8, 4), (8, 5), (4, 16)])
def test_the_network_s_numbers(scale: int, depth: int, width: int) -> None:
    network = random_network(LapSRNConfig(scale=scale, depth=depth, width=width))
    exact, ours = runtime_of(network), AmxNetwork(centred(network.fold()))
    for height, columns in [(1, 1), (6, 21), (33, 16), (17, 40)]:
        tiles = plane(height + 2 * exact.info.margin, columns + 2 * exact.info.margin, seed=height)[None]
        for levels in range(1, network.config.levels + 1):
            expected = list(exact.run(tiles, 2**levels).values())
            for got, want in zip(ours(tiles, levels), expected, strict=True):
                assert got.shape == want.shape
                assert np.sqrt(np.mean((got - want) ** 2)) < 0.04 * want.std() + 1e-3


@needs_amx
@SHIPPED
def test_nearer_to_float32_than_onednn_s_bfloat16(shipped: Path) -> None:
    exact = runtime_at(shipped, "float32", "torch")
    picture = (texture(96 + 2 * exact.info.margin, 90 + 2 * exact.info.margin) / 255).astype(np.float32)[None]
    scale = exact.info.scales[-1]
    wanted = exact.run(picture, scale)

    def error(backend: str) -> float:
        got = runtime_at(shipped, "bfloat16", backend).run(picture, scale)
        return max(float(np.sqrt(np.mean((got[each] - wanted[each]) ** 2))) for each in wanted)

    assert error("amx") < error("torch")
    assert error("amx") < 0.25 / 255


@needs_amx
@pytest.mark.parametrize("scale", [2, 4, 8])
def test_a_pixel_is_the_same_in_any_tile(scale: int) -> None:
    network = random_network(LapSRNConfig(scale=scale))
    ours, margin, levels = AmxNetwork(centred(network.fold())), network.config.margin, network.config.levels
    picture = plane(61 + 2 * margin, 75 + 2 * margin)
    whole = ours(picture[None], levels)
    for top, left, height, width in [(0, 0, 1, 1), (13, 8, 7, 33), (60, 74, 1, 1), (5, 41, 56, 34), (30, 3, 16, 18)]:
        window = picture[top : top + height + 2 * margin, left : left + width + 2 * margin]
        for level, (mine, all_of_it) in enumerate(zip(ours(window[None], levels), whole, strict=True), 1):
            rows = slice(top << level, (top + height) << level)
            columns = slice(left << level, (left + width) << level)
            np.testing.assert_array_equal(mine[0], all_of_it[0, rows, columns])


@needs_amx
@pytest.mark.parametrize("side", ["before", "behind"])
@pytest.mark.parametrize(("scale", "depth"), [(2, 1), (4, 5), (4, 10), (8, 4), (8, 5)])
def test_nothing_outside_its_buffers_is_touched_nor_what_was_in_them_used(side: str, scale: int, depth: int) -> None:
    command = [sys.executable, "-m", "tests.model.backends.guarded", side, str(scale), str(depth)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@needs_amx
def test_many_threads_may_run_one_network(weights: Path) -> None:
    runtime = runtime_at(weights, "bfloat16", "amx")
    tiles = [plane(50 + i, 70, seed=i)[None] for i in range(12)]
    alone = [runtime.run(tile, 4)[4] for tile in tiles]
    with ThreadPoolExecutor(4) as pool:
        for got, expected in zip(pool.map(lambda tile: runtime.run(tile, 4)[4], tiles * 4), alone * 4, strict=True):
            np.testing.assert_array_equal(got, expected)


@needs_amx
def test_no_number_of_the_picture_s_stays_behind() -> None:
    """A NaN in one tile is in its own output, and in no later one's."""
    network = random_network(LapSRNConfig())
    ours, side = AmxNetwork(centred(network.fold())), 30 + 2 * network.config.margin
    good = plane(side, side)[None]
    expected = ours(good, 2)
    assert np.isnan(ours(np.full_like(good, np.nan), 2)[1]).all()
    for got, want in zip(ours(good, 2), expected, strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("config", [LapSRNConfig(width=65), LapSRNConfig(depth=17), LapSRNConfig(slope=1.5)])
def test_a_network_that_is_too_large_is_torch_s(config: LapSRNConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amx, "missing", lambda: None)
    assert choose(LapSRNConfig(), "cpu", "bfloat16") == ("bfloat16", by_name("amx"))
    assert choose(config, "cpu", "bfloat16") == ("bfloat16", by_name("torch"))
    with pytest.raises(ValueError, match="the amx backend is for bfloat16 on a CPU with AMX"):
        choose(config, "cpu", "bfloat16", "amx")


@pytest.mark.parametrize("lacks", ["AMX", "the library", "permission"])
def test_without_it_torch_computes(lacks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: lacks != "AMX")
    monkeypatch.setattr(torch.cpu, "_init_amx", lambda: lacks != "permission")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    if lacks == "the library":
        monkeypatch.setattr(amx, "LIBRARY", tmp_path / "none.so")
    amx._library.cache_clear()
    try:
        assert amx.missing()
        assert choose(LapSRNConfig(), "cpu", "bfloat16").backend.name == "torch"
        with pytest.raises(OSError):
            AmxNetwork(centred(LapSRN(LapSRNConfig()).fold()))
    finally:
        amx._library.cache_clear()
