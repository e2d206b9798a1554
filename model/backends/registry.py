"""The list of backends, fastest first, and the choice among them."""

import importlib.util
from typing import NamedTuple

from model.backends import torch_network
from model.backends.amx import amx
from model.backends.backend import Backend, Compute, Tiling
from model.backends.torch_network import TorchNetwork
from model.devices import best_dtype
from model.folded import FoldedLapSRN
from model.network import LapSRNConfig

ON_CPU = Tiling(tile_widths=(16, 32, 48, 64), max_batch_tiles=16, max_batch_pixels=128 * 128)
"""A batch should fit into the cache. Cores beyond 64x64 were no faster, and cost each worker 150 MiB more."""
ON_CUDA = Tiling(
    tile_widths=(32, 64, 128, 256),
    max_batch_tiles=64,
    max_batch_pixels=2 * 256 * 256,
    fill_batches=True,
    warm_up="shapes",
)
"""Large tiles, and enough of them in a batch to fill the device."""
ON_AMX = Tiling(
    tile_widths=(18, 34, 50, 66, 82, 98, 114, 130),
    tile_heights=(16, 32, 48, 64, 80, 96, 112, 128),
    tile_overhead=0.6,
    split_above_idle=34,
    max_batch_tiles=1,
    max_batch_pixels=128 * 128,
)
"""Sixteen pixels of a row are computed at a time, and these widths waste few at both levels. Shapes need no
preparation, batches are no faster than single tiles, and a pixel is bit for bit the same in a tile of any shape."""


def _ncnn_is_missing(config: LapSRNConfig) -> str | None:
    if not config.is_plain:
        return "it computes levels of one depth, without skip connections"
    return None if importlib.util.find_spec("ncnn") else "the package ncnn is not installed"


def _build_winograd(folded: FoldedLapSRN, full: TorchNetwork, dtype: str) -> Compute:
    from model.backends.ncnn_winograd import WinogradFeatures  # brings ncnn, which not every machine has

    return full.with_features(WinogradFeatures(folded))


BACKENDS = (
    Backend(
        name="amx",
        description="this project's C code for AMX, the matrix unit of Intel's server CPUs",
        needs=f"bfloat16 on a CPU with AMX, and networks of up to {amx.CHANNELS} filters",
        dtypes=("bfloat16",),
        tilings={"cpu": ON_AMX},
        lacks=amx.lacks,
        build=lambda folded, full, dtype: amx.AmxNetwork(folded),
        shared=True,
    ),
    Backend(
        name="winograd",
        description="ncnn, whose Winograd convolutions need fewer multiplications; one thread a worker",
        needs="float32 on a CPU, and the package ncnn",
        dtypes=("float32",),
        tilings={"cpu": ON_CPU},
        lacks=_ncnn_is_missing,
        build=_build_winograd,
        shared=False,
    ),
    Backend(
        name="torch",
        description="PyTorch: oneDNN on CPUs, cuDNN on NVIDIA GPUs",
        needs="any dtype, device and network",
        dtypes=("float32", "bfloat16", "float16"),
        tilings={"cpu": ON_CPU, "cuda": ON_CUDA},
        lacks=lambda config: None,
        build=torch_network.build,
        shared=True,
    ),
)
"""`auto` takes the first one that can compute the network; the last one always can."""


class Kernels(NamedTuple):
    """The dtype of the features, and the backend that computes them."""

    dtype: str
    backend: Backend


def choose(config: LapSRNConfig, device: str, dtype: str = "auto", backend: str = "auto") -> Kernels:
    """The dtype and backend for a network on a device; "auto" is the fastest that can compute it.

    Raises ValueError for a backend that is not in the list or cannot compute this network here.
    """
    if backend == "auto":
        dtype = best_dtype(device) if dtype == "auto" else dtype
        return Kernels(dtype, next(each for each in BACKENDS if not each.why_not(config, device, dtype)))
    chosen = by_name(backend)
    dtype = suitable_dtype(chosen, device) if dtype == "auto" else dtype
    if reason := chosen.why_not(config, device, dtype):
        raise ValueError(
            f"the {backend} backend is for {chosen.needs}, not for {dtype} on {device} here; "
            f"use backend auto ({reason})"
        )
    return Kernels(dtype, chosen)


def survey(config: LapSRNConfig, device: str, dtype: str = "auto") -> list[tuple[Backend, str | None]]:
    """Every backend with the reason why it cannot compute a network on a device, or None if it can.

    With dtype "auto", each is checked for the dtype in which it would be used.
    """
    wanted = [suitable_dtype(each, device) if dtype == "auto" else dtype for each in BACKENDS]
    return [(each, each.why_not(config, device, kind)) for each, kind in zip(BACKENDS, wanted, strict=True)]


def by_name(name: str) -> Backend:
    """The row of this name. Raises ValueError."""
    for backend in BACKENDS:
        if backend.name == name:
            return backend
    raise ValueError(f"there is no backend {name!r}; use auto, or one of {', '.join(each.name for each in BACKENDS)}")


def suitable_dtype(backend: Backend, device: str) -> str:
    """The device's best dtype if the backend has it, else the backend's first."""
    best = best_dtype(device)
    return best if best in backend.dtypes else backend.dtypes[0]
