"""What the service runs: a weights file as a TileModel that maps a batch of tiles to a batch of tiles."""

import copy
import ctypes
import importlib.util
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
import torch

from model import amx
from model.checkpoint import WeightsInfo, load_weights
from model.folded import centred
from model.network import LapSRN, LapSRNConfig
from model.torch_network import Tiles, TorchNetwork, features_of, prepare


class Kernels(NamedTuple):
    """What computes a network: the dtype of features, and "torch", "winograd" or "amx"."""

    dtype: str
    backend: str


class Runtime:
    """One worker's copy of the network on one device. Not for several threads at once.

    `margin` is in source pixels on each side of a tile's core; `scales` are the enlargements that can be asked for.
    `companions` are other networks on the same device, for the same thread.
    """

    def __init__(self, network: LapSRN, name: str, device: str, dtype: str, backend: str = "torch") -> None:
        self.name = name
        self.device = device
        self.dtype = dtype
        self.backend = backend
        self.companions: list[Runtime] = []
        self.original: Runtime | None = None
        """Whose weights these are, which so live as long as anybody needs them."""
        self.margin = network.config.margin
        self.scales = network.config.scales
        # Of its own, so that two workers of one accelerator copy and compute at the same time.
        stream = torch.cuda.Stream(device) if device.startswith("cuda") else None  # type: ignore[no-untyped-call]
        with torch.no_grad():
            # On the CPU, where the result is the same each time: workers must not differ.
            folded = centred(network.cpu().fold())
        exact = prepare(folded, device, "float32")
        self._full = TorchNetwork(exact, features_of(exact, "float32"), device, stream)
        self._served: Callable[[Tiles, int], list[Tiles]]
        if backend == "amx":
            self._served = amx.AmxNetwork(folded)
        elif backend == "winograd":
            from model.winograd import WinogradFeatures

            self._served = TorchNetwork(exact, WinogradFeatures(folded), device)
        elif dtype == "float32":
            self._served = self._full
        else:
            self._served = TorchNetwork(exact, features_of(prepare(folded, device, dtype), dtype), device, stream)
        if stream is not None:
            torch.cuda.synchronize(device)  # what was made on the default stream is there before this one reads it

    def run(self, tiles: Tiles, scale: int, *, full_precision: bool = False) -> dict[int, Tiles]:
        """Tiles (N, H + 2 margin, W + 2 margin), luma or alpha in 0..1, to {s: (N, H s, W s)} for every s <= scale.

        Valid convolutions only, so a tile's core depends on nothing but the tile. `full_precision` computes the
        features in float32 whatever the dtype. Raises MemoryError when the device has no room for the batch.
        """
        network = self._full if full_precision else self._served
        try:
            return dict(zip(self.scales, network(tiles, self.scales.index(scale) + 1), strict=False))
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
        if self.device == "cpu" and (libc := _glibc()):
            libc.malloc_trim(0)  # making the kernels took more than running them does


def load(
    path: Path,
    device: str,
    dtype: str = "auto",
    threads: int = 1,
    backend: str = "auto",
    companions: Iterable[Path] = (),
) -> Runtime:
    """The runtime of a weights file, with those of more files as its companions; `threads` is for CPUs.

    dtype and backend are as in `kernels`, and may be "auto".

    Raises model.checkpoint.WeightsError when the file is missing, corrupt or not a LapSRN.
    """
    torch.set_num_threads(threads)
    exact_float32()
    if device == "cpu":
        keep_freed_memory()
    first, *others = (_loaded(file, device, dtype, backend) for file in (path, *companions))
    first.companions = others
    return first


_made: WeakValueDictionary[tuple[str, str, str, str], Runtime] = WeakValueDictionary()
"""Of CPUs, by hash and name of the file, and kernels."""
_making = threading.Lock()


def _loaded(path: Path, device: str, dtype: str, backend: str) -> Runtime:
    """The runtime of one file. On a CPU everybody reads the same weights: one copy is enough."""
    network, info = load_weights(path)
    chosen = kernels(network.config, device, dtype, backend)
    if device != "cpu" or chosen.backend == "winograd":
        return Runtime(network, path.stem, device, *chosen)
    key = (info.sha256, path.stem, *chosen)
    with _making:
        original = _made.get(key)
        if original is None:
            original = _made[key] = Runtime(network, path.stem, device, *chosen)
    mine = copy.copy(original)
    mine.original = original
    return mine


def describe(path: Path) -> dict[str, Any]:
    """What a weights file is, for people: name, scales, margin, sha256, config, scores, data, recipe."""
    network, info = load_weights(path)
    config = network.config
    about: WeightsInfo = info
    return {"name": path.stem, "scales": list(config.scales), "margin": config.margin} | asdict(about)


def exact_float32() -> None:
    """Have accelerators compute float32 as such, not with the ten bits that TF32 keeps: 0.1 of a level of 255."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def keep_freed_memory() -> None:
    """Tell glibc to keep freed buffers rather than hand them back: fresh pages cost more than the arithmetic.

    What is kept is kept per arena, so there must not be many of them. What others left behind, such as a worker that
    died, goes back now.
    """
    libc = _glibc()
    if libc is None:  # slower, not wrong
        return
    trim_threshold, mmap_threshold, arena_max = -1, -3, -8
    libc.mallopt(mmap_threshold, 32 << 20)
    libc.mallopt(trim_threshold, 128 << 20)
    libc.mallopt(arena_max, (os.cpu_count() or 1) + 2)
    libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The C library, where it is glibc."""
    try:
        return ctypes.CDLL("libc.so.6")
    except OSError:
        return None


def kernels(config: LapSRNConfig, device: str, dtype: str = "auto", backend: str = "auto") -> Kernels:
    """What computes such a network on a device; "auto" is the fastest that there is.

    backend "amx" is amx.c (bfloat16 on CPUs with AMX), "winograd" is ncnn, whose kernels multiply less (float32 on
    CPUs, one thread), and "torch" is everything else. Raises ValueError for a backend that cannot do it.
    """
    dtype = best_dtype(device) if dtype == "auto" else dtype
    able = {
        "amx": (device, dtype) == ("cpu", "bfloat16") and amx.fits(config) and amx.available(),
        "winograd": (device, dtype) == ("cpu", "float32") and importlib.util.find_spec("ncnn") is not None,
        "torch": True,
    }
    if backend == "auto":
        backend = next(name for name, can in able.items() if can)
    if not able[backend]:
        needed = {"amx": "bfloat16 on a CPU with AMX", "winograd": "float32 on a CPU, and the package ncnn"}[backend]
        raise ValueError(f"the {backend} backend is for {needed}, not for {dtype} on {device} here; use backend auto")
    return Kernels(dtype, backend)


def best_dtype(device: str) -> str:
    """bfloat16 where the hardware multiplies it faster than float32: on CPUs, where they have AMX. Else float32."""
    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    return "bfloat16" if amx.permitted() else "float32"


def devices(wanted: str) -> list[str]:
    """Where to run: "auto" is every CUDA device, or the CPU where there is none; else names with commas between.

    A device that is named twice is there twice, which lets one worker's copies go on while the other computes.
    Raises ValueError for a device that torch does not know or this machine has not, and for the CPU beside others.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "auto":
        return [f"cuda:{index}" for index in range(count)] or ["cpu"]
    found = [_device(name.strip(), count) for name in wanted.split(",")]
    if "cpu" in found and len(found) > 1:
        raise ValueError(f"{wanted!r}: the CPU is no match for accelerators beside it; use cpu alone, or leave it out")
    return found


def _device(name: str, count: int) -> str:
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"unknown device {name!r}; use auto, cpu, cuda or cuda:N") from None
    if device.type == "cpu":
        return "cpu"
    if device.type != "cuda" or (device.index or 0) >= count:
        raise ValueError(f"no device {name!r} here; there are cpu and {count} CUDA devices")
    return f"cuda:{device.index or 0}"
