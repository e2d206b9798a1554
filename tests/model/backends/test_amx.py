"""The AMX backend, beyond what is tested of every backend: its precision, and machines that lack it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from model import cpu
from model.backends.amx import amx
from model.backends.amx.amx import AmxNetwork
from model.backends.registry import by_name, choose
from model.network import LapSRN, LapSRNConfig
from model.runtime import Runtime
from tests.model.networks import DEEPER, SHIPPED, folded_of, form, random_network, runtime_at, runtime_of, texture

ON_AMX = pytest.mark.parametrize("backend", ["amx"])
"""On this CPU's own, or on its emulation."""


@ON_AMX
@SHIPPED
def test_amx_is_closer_to_float32_than_onednn_in_bfloat16(shipped: Path, backend: str) -> None:
    ours, theirs = errors(lambda dtype, name: runtime_at(shipped, dtype, name), backend)
    assert ours < theirs
    assert ours < 0.25 / 255


@ON_AMX
def test_a_deep_network_is_closer_to_float32_than_onednn(backend: str) -> None:
    """What a pair of convolutions adds is rounded with the sum, and not before."""
    network = random_network(DEEPER)
    ours, theirs = errors(lambda dtype, name: runtime_of(network, dtype, name), backend)
    assert ours < 0.8 * theirs


def errors(runtime: Callable[[str, str], Runtime], backend: str) -> list[float]:
    """Of a backend and of torch in bfloat16: root mean square differences from torch in float32."""
    exact = runtime("float32", "torch")
    side = 2 * exact.info.window_margin
    picture = (texture(60 + side, 50 + side) / 255).astype(np.float32)[None]
    scale = exact.info.scales[-1]
    wanted = exact.run(picture, scale)
    runs = [runtime("bfloat16", name).run(picture, scale) for name in (backend, "torch")]
    return [max(float(np.sqrt(np.mean((got[each] - wanted[each]) ** 2))) for each in wanted) for got in runs]


@pytest.mark.parametrize(
    "config",
    [
        LapSRNConfig(width=65),
        LapSRNConfig(depth=33),
        LapSRNConfig(depths=(3, 33), skips=True),
    ],
    ids=form,
)
def test_a_network_that_is_too_large_is_computed_by_torch(
    config: LapSRNConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(amx, "missing", lambda: None)
    for served in (LapSRNConfig(), DEEPER, LapSRNConfig(scale=8, depth=32)):
        assert choose(served, "cpu", "bfloat16") == ("bfloat16", by_name("amx"))
    assert choose(config, "cpu", "bfloat16") == ("bfloat16", by_name("torch"))
    with pytest.raises(ValueError, match="amx is for bfloat16 on a CPU with AMX"):
        choose(config, "cpu", "bfloat16", "amx")


@pytest.mark.parametrize("lacks", ["AMX", "the library", "permission"])
def test_without_amx_torch_computes(lacks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_bfloat16_is_rounded_like_torch() -> None:
    values = np.random.default_rng(0).standard_normal(10_000).astype(np.float32)
    ties = np.array([0x3F808000, 0x3F818000, 0x3F807FFF, 0x3F808001, 0x80000000, 0], np.uint32).view(np.float32)
    every = np.concatenate([values, ties])
    expected = torch.from_numpy(every).to(torch.bfloat16).view(torch.uint16).numpy()
    np.testing.assert_array_equal(amx._bfloat16(every), expected)
