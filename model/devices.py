"""The devices that networks run on, by name, and the dtype that suits each."""

from importlib.util import find_spec
from pathlib import Path

from model.cpu import features, has_amx

NVIDIA = Path("/dev/nvidiactl")
"""Exists where NVIDIA's driver is loaded. torch is asked for GPUs only there, as importing it takes seconds."""


def devices(wanted: str) -> list[str]:
    """The devices to run on: for "auto" every CUDA device, or the CPU if there is none; else names between commas.

    A device that is named twice gets two workers, so that one copies while the other computes. Raises ValueError for a
    device that torch does not know or this machine does not have, and for the CPU together with others.
    """
    if wanted == "cpu" or (wanted == "auto" and not (NVIDIA.exists() and has_torch())):
        return ["cpu"]
    if not has_torch():
        raise ValueError(f"{wanted!r} needs PyTorch, which is not installed; use cpu, or install lapsrn[gpu]")
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "auto":
        return [f"cuda:{index}" for index in range(count)] or ["cpu"]
    found = [_device(name.strip(), count) for name in wanted.split(",")]
    if "cpu" in found and len(found) > 1:
        raise ValueError(f"{wanted!r}: the CPU would only slow accelerators down; use cpu alone, or leave it out")
    return found


def has_torch() -> bool:
    """Whether PyTorch is installed; it is not loaded."""
    return find_spec("torch") is not None


def _device(name: str, count: int) -> str:
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"unknown device {name!r}; use auto, cpu, cuda or cuda:N") from None
    if device.type == "cpu":
        return "cpu"
    if device.type != "cuda" or (device.index or 0) >= count:
        raise ValueError(f"no device {name!r} here; there are cpu and {count} CUDA devices")
    return f"cuda:{device.index or 0}"


def best_dtype(device: str) -> str:
    """bfloat16 on CPUs with AMX, else float32; on GPUs bfloat16 if they multiply it in hardware, else float16."""
    if device.startswith("cuda"):
        import torch

        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    return "bfloat16" if has_amx() else "float32"


def training_dtype(device: str) -> str:
    """As `best_dtype`, for training: bfloat16 also on CPUs with AVX512-BF16, where it trains twice as fast as float32.

    Serving has Winograd convolutions in float32 there, which are faster still, but there are none for backward.
    """
    return "bfloat16" if device == "cpu" and "avx512_bf16" in features() else best_dtype(device)


def exact_float32() -> None:
    """Turns TF32 off on GPUs, whose mantissa of ten bits costs 0.1 of a level of 255."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
