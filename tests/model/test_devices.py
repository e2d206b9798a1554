"""Devices by their names, and the dtype that suits each."""

from pathlib import Path

import pytest
import torch

from model import cpu
from model import devices as module
from model.devices import best_dtype, devices, training_dtype


@pytest.mark.parametrize(
    ("features", "allowed", "dtype"),
    [(cpu.AMX, True, "bfloat16"), (cpu.AMX, False, "float32"), ({"amx_tile"}, True, "float32")],
)
def test_the_best_dtype_depends_on_the_features_of_the_cpu(
    features: set[str], allowed: bool, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "features", lambda: features)
    monkeypatch.setattr(cpu, "_may_use_tiles", lambda: allowed)
    cpu.has_amx.cache_clear()
    try:
        assert best_dtype("cpu") == dtype
    finally:
        cpu.has_amx.cache_clear()


@pytest.mark.parametrize(
    ("native", "dtype"), [(True, "bfloat16"), (False, "float16")], ids=["bfloat16 in hardware", "older"]
)
def test_the_best_dtype_depends_on_the_accelerator(native: bool, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    assert best_dtype("cuda:1") == dtype


@pytest.mark.parametrize(
    ("wanted", "count", "found"),
    [
        ("auto", 0, ["cpu"]),
        ("auto", 3, ["cuda:0", "cuda:1", "cuda:2"]),
        ("cpu", 2, ["cpu"]),
        ("cuda", 2, ["cuda:0"]),
        ("cuda:1", 2, ["cuda:1"]),
        ("cuda:0,cuda:1", 2, ["cuda:0", "cuda:1"]),
        ("cuda:1, cuda:1", 2, ["cuda:1", "cuda:1"]),
    ],
)
def test_devices_are_found_by_name(
    wanted: str, count: int, found: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "NVIDIA", tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert devices(wanted) == found


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("gpu", "unknown device 'gpu'; use auto, cpu, cuda or cuda:N"),
        ("cuda:2", "no device 'cuda:2' here; there are cpu and 2 CUDA devices"),
        ("meta", "no device 'meta' here; there are cpu and 2 CUDA devices"),
        ("cuda:0,cuda:7", "no device 'cuda:7' here"),
        ("cuda:0,", "unknown device ''"),
        ("cpu,cuda:0", "use cpu alone, or leave it out"),
    ],
)
def test_missing_devices_are_refused(wanted: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=message):
        devices(wanted)


@pytest.mark.parametrize(("features", "dtype"), [({"avx512_bf16"}, "bfloat16"), ({"avx512f"}, "float32")])
def test_training_uses_bfloat16_on_cpus_that_multiply_it_without_amx(
    features: set[str], dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the CPU multiplies it; serving has faster kernels in float32 there."""
    monkeypatch.setattr(module, "features", lambda: features)
    monkeypatch.setattr(module, "has_amx", lambda: False)
    assert training_dtype("cpu") == dtype
    assert best_dtype("cpu") == "float32"


def test_training_on_an_accelerator_uses_its_best_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert training_dtype("cuda:0") == "bfloat16"


def test_without_an_nvidia_driver_torch_is_not_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "NVIDIA", tmp_path / "none")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("asked"))
    assert devices("auto") == devices("cpu") == ["cpu"]


def test_without_torch_the_device_is_the_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "NVIDIA", tmp_path)
    monkeypatch.setattr(module, "has_torch", lambda: False)
    assert devices("auto") == devices("cpu") == ["cpu"]
    with pytest.raises(ValueError, match=r"'cuda' needs PyTorch, which is not installed; use cpu, or install"):
        devices("cuda")
