"""The devices that networks run on, by name, and the dtype that suits each."""

from importlib.util import find_spec
from pathlib import Path

from model.cpu import features, has_amx

NVIDIA = Path("/dev/nvidiactl")
"""There where NVIDIA's driver is. torch is only asked for GPUs where it may find one, as loading it takes seconds."""


def devices(wanted: str) -> list[str]:
    """Where to run: "auto" is every CUDA device, or the CPU where there is none; else names with commas between.

    A device that is named twice is there twice, which lets one worker's copies go on while the other computes.
    Raises ValueError for a device that torch does not know or this machine has not, and for the CPU beside others.
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
    """bfloat16 where the hardware multiplies it faster than float32: on CPUs, where they have AMX. Else float32."""
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
    """Have accelerators compute float32 as such, not with the ten bits that TF32 keeps: 0.1 of a level of 255."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
