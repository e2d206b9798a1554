"""The AMX backend, beyond what is tested of every backend: numbers at every width, and machines that lack it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from model import cpu
from model.backends.amx import amx
from model.backends.amx.amx import AmxNetwork
from model.backends.registry import by_name, choose
from model.network import LapSRN, LapSRNConfig
from tests.model.networks import SHIPPED, folded_of, plane, random_network, runtime_at, runtime_of, texture

needs_amx = pytest.mark.skipif(amx.missing() is not None, reason=str(amx.missing()))


@needs_amx
@pytest.mark.parametrize("width", [3, 16, 64])
@pytest.mark.parametrize(("scale", "depth"), [(2, 1), (2, 5), (4, 1), (4, 2), (4, 5), (4, 10), (8, 4), (8, 5), (4, 16)])
def test_the_network_s_numbers(scale: int, depth: int, width: int) -> None:
    network = random_network(LapSRNConfig(scale=scale, depth=depth, width=width))
    exact, ours = runtime_of(network), AmxNetwork(folded_of(network))
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
    with pytest.raises(ValueError, match="amx is for bfloat16 on a CPU with AMX"):
        choose(config, "cpu", "bfloat16", "amx")


@pytest.mark.parametrize("lacks", ["AMX", "the library", "permission"])
def test_without_it_torch_computes(lacks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "features", lambda: cpu.AMX if lacks != "AMX" else set())
    monkeypatch.setattr(cpu, "_may_use_tiles", lambda: lacks != "permission")
    cpu.has_amx.cache_clear()
    if lacks == "the library":
        monkeypatch.setattr(amx, "LIBRARY", tmp_path / "none.so")
    amx._library.cache_clear()
    try:
        assert amx.missing()
        assert choose(LapSRNConfig(), "cpu", "bfloat16").backend.name == "torch"
        with pytest.raises(OSError):
            AmxNetwork(folded_of(LapSRN(LapSRNConfig())))
    finally:
        cpu.has_amx.cache_clear()
        amx._library.cache_clear()


def test_bfloat16_is_rounded_as_torch_rounds_it() -> None:
    values = np.random.default_rng(0).standard_normal(10_000).astype(np.float32)
    ties = np.array([0x3F808000, 0x3F818000, 0x3F807FFF, 0x3F808001, 0x80000000, 0], np.uint32).view(np.float32)
    every = np.concatenate([values, ties])
    expected = torch.from_numpy(every).to(torch.bfloat16).view(torch.uint16).numpy()
    np.testing.assert_array_equal(amx._bfloat16(every), expected)
