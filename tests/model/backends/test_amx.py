"""The AMX backend, beyond what is tested of every backend: numbers at every width, and machines that lack it."""

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
        tiles = plane(height + 2 * exact.info.window_margin, columns + 2 * exact.info.window_margin, seed=height)[None]
        for levels in range(1, network.config.levels + 1):
            expected = list(exact.run(tiles, 2**levels).values())
            for got, want in zip(ours(tiles, levels), expected, strict=True):
                assert got.shape == want.shape
                assert np.sqrt(np.mean((got - want) ** 2)) < 0.04 * want.std() + 1e-3


@needs_amx
@SHIPPED
def test_nearer_to_float32_than_onednn_s_bfloat16(shipped: Path) -> None:
    exact = runtime_at(shipped, "float32", "torch")
    picture = (texture(96 + 2 * exact.info.window_margin, 90 + 2 * exact.info.window_margin) / 255).astype(np.float32)[
        None
    ]
    scale = exact.info.scales[-1]
    wanted = exact.run(picture, scale)

    def error(backend: str) -> float:
        got = runtime_at(shipped, "bfloat16", backend).run(picture, scale)
        return max(float(np.sqrt(np.mean((got[each] - wanted[each]) ** 2))) for each in wanted)

    assert error("amx") < error("torch")
    assert error("amx") < 0.25 / 255


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
