"""What the service runs: a weights file as a TileModel that maps a batch of tiles to a batch of tiles."""

import torch


def torch_dtype(name: str) -> torch.dtype:
    """The dtype of a name that settings use."""
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]


def best_dtype(device: str) -> str:
    """bfloat16 where the hardware multiplies it faster than float32, else float32."""
    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    return "bfloat16" if torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported() else "float32"
