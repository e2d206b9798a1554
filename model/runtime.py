"""What the service runs: a weights file as a TileModel that maps a batch of tiles to a batch of tiles."""

import ctypes
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model.checkpoint import WeightsInfo, load_weights
from model.folded import Conv, EagerConv, FoldedLapSRN
from model.fused import pack
from model.network import LapSRN

Tiles = NDArray[np.float32]


class Runtime:
    """One worker's copy of the network on one device. Not for several threads at once.

    `margin` is in source pixels on each side of a tile's core; `scales` are the enlargements that can be asked for.
    """

    def __init__(self, network: LapSRN, name: str, device: str, dtype: str) -> None:
        self.name = name
        self.device = device
        self.dtype = dtype
        self.margin = network.config.margin
        self.scales = network.config.scales
        with torch.no_grad():
            self._full = network.to(device).fold()
        self._served = prepare(self._full, device, dtype)
        with torch.inference_mode():
            zeros = torch.zeros(1, device=device)
            self._served_flats = self._served.flat_response(zeros, torch_dtype(dtype))
            self._full_flats = self._full.flat_response(zeros)

    @torch.inference_mode()
    def run(self, tiles: Tiles, scale: int, *, full_precision: bool = False) -> dict[int, Tiles]:
        """Tiles (N, H + 2 margin, W + 2 margin), luma or alpha in 0..1, to {s: (N, H s, W s)} for every s <= scale.

        Valid convolutions only, so a tile's core depends on nothing but the tile. `full_precision` computes the
        features in float32 whatever the dtype. Raises MemoryError when the device has no room for the batch.
        """
        levels = self.scales.index(scale) + 1
        network, flats, dtype = self._served, self._served_flats, torch_dtype(self.dtype)
        if full_precision:
            network, flats, dtype = self._full, self._full_flats, torch.float32
        try:
            padded = torch.from_numpy(tiles)[:, None].to(self.device)
            outputs = network.apply(padded, flats[:levels], dtype)
            return {s: level[:, 0].cpu().numpy() for s, level in zip(self.scales, outputs, strict=False)}
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise MemoryError(str(error)) from error
        except RuntimeError as error:
            if "alloc" in str(error):  # the CPU allocator has no exception of its own
                raise MemoryError(str(error)) from error
            raise

    def warm_up(self, shapes: Iterable[tuple[int, int, int]]) -> None:
        """Run once on each batch shape (N, H, W) of cores, so that no request pays for kernels being chosen."""
        for count, height, width in shapes:
            tiles = np.zeros((count, height + 2 * self.margin, width + 2 * self.margin), np.float32)
            self.run(tiles, self.scales[-1])


def prepare(network: FoldedLapSRN, device: str, dtype: str) -> FoldedLapSRN:
    """The folded network with weights in the dtype and layout that the device multiplies fastest."""
    kind = torch_dtype(dtype)

    def cast(conv: Conv, to: torch.dtype) -> Conv:
        assert isinstance(conv, EagerConv)
        weight = conv.weight.detach().to(to, memory_format=torch.channels_last)
        bias = None if conv.bias is None else conv.bias.detach().to(to)
        return pack(weight, bias) if device == "cpu" else EagerConv(weight, bias)

    return network.map(lambda conv: cast(conv, kind), lambda conv: cast(conv, torch.float32))


def load(path: Path, device: str, dtype: str = "auto", threads: int = 1) -> Runtime:
    """The runtime of a weights file. dtype "auto" is the fastest that the device has; `threads` is for CPUs.

    Raises model.checkpoint.WeightsError when the file is missing, corrupt or not a LapSRN.
    """
    torch.set_num_threads(threads)
    if device == "cpu":
        keep_freed_memory()
    network, _ = load_weights(path)
    return Runtime(network, path.stem, device, best_dtype(device) if dtype == "auto" else dtype)


def describe(path: Path) -> dict[str, Any]:
    """What a weights file is, for people: name, scales, margin, sha256, config, scores, data, recipe."""
    network, info = load_weights(path)
    config = network.config
    about: WeightsInfo = info
    return {"name": path.stem, "scales": list(config.scales), "margin": config.margin} | asdict(about)


def keep_freed_memory() -> None:
    """Tell glibc to keep freed buffers rather than hand them back: fresh pages cost more than the arithmetic."""
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:  # not glibc: slower, not wrong
        return
    trim_threshold, mmap_threshold = -1, -3
    libc.mallopt(mmap_threshold, 32 << 20)
    libc.mallopt(trim_threshold, 512 << 20)


def torch_dtype(name: str) -> torch.dtype:
    """The dtype of a name that settings use."""
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]


def best_dtype(device: str) -> str:
    """bfloat16 where the hardware multiplies it faster than float32, else float32."""
    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    amx = torch.cpu._is_amx_tile_supported()
    return "bfloat16" if amx or torch.cpu._is_avx512_bf16_supported() else "float32"


def devices(wanted: str) -> list[str]:
    """Where to run: "auto" is every CUDA device, or the CPU where there is none; anything else is taken as it is.

    Raises ValueError for a device that torch does not know or this machine does not have.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "auto":
        return [f"cuda:{index}" for index in range(count)] or ["cpu"]
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise ValueError(f"unknown device {wanted!r}; use auto, cpu, cuda or cuda:N") from None
    if device.type == "cpu":
        return ["cpu"]
    if device.type != "cuda" or (device.index or 0) >= count:
        raise ValueError(f"no device {wanted!r} here; there are cpu and {count} CUDA devices")
    return [f"cuda:{device.index or 0}"]
