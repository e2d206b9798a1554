"""The AMX backend, beyond what is tested of every backend: its precision, and machines that lack it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from model.backends.amx import amx
from model.backends.amx.amx import AmxNetwork
from model.backends.registry import by_name, choose
from model.folded import centred
from model.network import LapSRN, LapSRNConfig
from tests.model.networks import SHIPPED, runtime_at, texture

ON_AMX = pytest.mark.parametrize("backend", ["amx"])
"""On this CPU's own, or on its emulation."""


@ON_AMX
@SHIPPED
def test_nearer_to_float32_than_onednn_s_bfloat16(shipped: Path, backend: str) -> None:
    exact = runtime_at(shipped, "float32", "torch")
    picture = (texture(60 + 2 * exact.info.window_margin, 50 + 2 * exact.info.window_margin) / 255).astype(np.float32)[
        None
    ]
    scale = exact.info.scales[-1]
    wanted = exact.run(picture, scale)

    def error(name: str) -> float:
        got = runtime_at(shipped, "bfloat16", name).run(picture, scale)
        return max(float(np.sqrt(np.mean((got[each] - wanted[each]) ** 2))) for each in wanted)

    assert error(backend) < error("torch")
    assert error(backend) < 0.25 / 255


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
