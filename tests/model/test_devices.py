"""Devices by their names, and the dtype that suits each."""

import pytest
import torch

from model.devices import best_dtype, devices, training_dtype


@pytest.mark.parametrize(
    ("has_amx", "allowed", "dtype"),
    [(True, True, "bfloat16"), (True, False, "float32"), (False, True, "float32")],
)
def test_dtype_by_what_the_cpu_multiplies_fast(
    has_amx: bool, allowed: bool, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_amx)
    monkeypatch.setattr(torch.cpu, "_init_amx", lambda: allowed)
    assert best_dtype("cpu") == dtype


@pytest.mark.parametrize(
    ("native", "dtype"), [(True, "bfloat16"), (False, "float16")], ids=["bfloat16 in hardware", "older"]
)
def test_dtype_by_what_the_accelerator_has(native: bool, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_devices(wanted: str, count: int, found: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_devices_that_are_not_there(wanted: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=message):
        devices(wanted)


@pytest.mark.parametrize(("has_bf16", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_training_takes_bfloat16_without_amx_too(has_bf16: bool, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the CPU multiplies it; serving has faster kernels in float32 there."""
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_bf16)
    assert training_dtype("cpu") == dtype
    assert best_dtype("cpu") == "float32"


def test_training_on_an_accelerator_is_in_its_best_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert training_dtype("cuda:0") == "bfloat16"
