"""The list of backends, fastest first, and the choice among them."""

from typing import NamedTuple

from model.backends.amx import amx
from model.backends.backend import Backend, Compute, Tiling
from model.backends.kernels import ROOM
from model.backends.winograd import winograd
from model.config import LapSRNConfig
from model.devices import best_dtype, has_torch
from model.folding import fold
from model.weights import Parameters

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
    warm_up="smallest",
)
"""Sixteen pixels of a row are computed at a time, and these widths waste few at both levels. Shapes need no
preparation, batches are no faster than single tiles, and a pixel is bit for bit the same in a tile of any shape."""
ON_WINOGRAD = Tiling(
    tile_widths=tuple(range(16, 129, 16)),
    tile_heights=(*range(16, 129, 16), 192, 256),
    tall_heights=(320, 384),
    tile_overhead=0.575,
    split_above_idle=32,
    max_batch_tiles=1,
    max_batch_pixels=128 * 256,
    warm_up="smallest",
)
"""Only whole patches of 4x4 give the same bits in any tile. A core's height costs no cache; its width does. Windows
reach two pixels further for every convolution: what deep networks lose to margins is less in higher tiles."""


def _winograd(target: str, instructions: str) -> Backend:
    """winograd.c as compiled for one kind of CPU."""
    return Backend(
        name=f"winograd_{target}",
        description=f"this project's C code with Winograd's convolutions, for {instructions}",
        needs=f"float32 on a CPU with {instructions}, and {ROOM}",
        dtypes=("float32",),
        tilings={"cpu": ON_WINOGRAD},
        lacks=lambda config: winograd.lacks(config, target),
        build=lambda parameters, config, device, dtype: winograd.WinogradNetwork(fold(parameters, config), target),
        shared=True,
        network_mib=winograd.network_mib,
        window_margin=lambda config: winograd.margin(config, target),
    )


def _build_torch(parameters: Parameters, config: LapSRNConfig, device: str, dtype: str) -> Compute:
    from model.backends.torch_network import build  # brings torch, which is slow, and not everywhere

    return build(parameters, config, device, dtype)


def _prepare_torch(threads: int) -> None:
    from model.backends.torch_network import prepare_thread

    prepare_thread(threads)


BACKENDS = (
    Backend(
        name="amx",
        description="this project's C code for AMX, the matrix unit of Intel's server CPUs",
        needs=f"bfloat16 on a CPU with AMX, and {ROOM}",
        dtypes=("bfloat16",),
        tilings={"cpu": ON_AMX},
        lacks=amx.lacks,
        build=lambda parameters, config, device, dtype: amx.AmxNetwork(fold(parameters, config)),
        shared=True,
        network_mib=lambda config: 16,
        worker_mib=16,
    ),
    _winograd("avx512", "AVX-512"),
    _winograd("avx2", "AVX2 and FMA"),
    _winograd("sse2", "SSE2"),
    _winograd("neon", "NEON"),
    Backend(
        name="torch",
        description="PyTorch: oneDNN on CPUs, cuDNN on NVIDIA GPUs",
        needs="any dtype, device and network",
        dtypes=("float32", "bfloat16", "float16"),
        tilings={"cpu": ON_CPU, "cuda": ON_CUDA},
        lacks=lambda config: None if has_torch() else "PyTorch is not installed; install lapsrn[torch]",
        build=_build_torch,
        shared=True,
        worker_mib=16,
        library_mib=160,
        prepare_thread=_prepare_torch,
    ),
)
"""`auto` takes the first one that can compute the network; the last one always can where PyTorch is installed."""


class Kernels(NamedTuple):
    """The dtype of the features, and the backend that computes them."""

    dtype: str
    backend: Backend


def choose(config: LapSRNConfig, device: str, dtype: str = "auto", backend: str = "auto") -> Kernels:
    """The dtype and backend for a network on a device; "auto" is the fastest that can compute it.

    Raises ValueError for a backend that is not in the list or cannot compute this network here.
    """
    if backend == "auto":
        dtypes = [best_dtype(device), "float32"] if dtype == "auto" else [dtype]
        found = [Kernels(each, row) for each in dtypes for row in BACKENDS if not row.why_not(config, device, each)]
        if not found:
            reason = BACKENDS[-1].why_not(config, device, dtypes[0])
            raise ValueError(f"nothing here computes this network in {' or '.join(dtypes)} on {device} ({reason})")
        return found[0]
    reasons = []
    for row in named(backend):
        wanted = suitable_dtype(row, device) if dtype == "auto" else dtype
        reason = row.why_not(config, device, wanted)
        if reason is None:
            return Kernels(wanted, row)
        reasons.append(f"{row.name} is for {row.needs}: {reason}")
    raise ValueError(f"the backend {backend} cannot be used on {device} here; use auto ({'; '.join(reasons)})")


def survey(config: LapSRNConfig, device: str, dtype: str = "auto") -> list[tuple[Backend, str | None]]:
    """Every backend with the reason why it cannot compute a network on a device, or None if it can.

    With dtype "auto", each is checked for the dtype in which it would be used.
    """
    wanted = [suitable_dtype(each, device) if dtype == "auto" else dtype for each in BACKENDS]
    return [(each, each.why_not(config, device, kind)) for each, kind in zip(BACKENDS, wanted, strict=True)]


def named(name: str) -> list[Backend]:
    """The row of this name, or all whose names begin with it, as "winograd_avx2" does with "winograd".

    Raises ValueError where there is none.
    """
    found = [each for each in BACKENDS if name in (each.name, each.name.partition("_")[0])]
    if not found:
        raise ValueError(f"there is no backend {name!r}; use auto, or one of {', '.join(row.name for row in BACKENDS)}")
    return found


def by_name(name: str) -> Backend:
    """The row of exactly this name, which has to be there."""
    return next(row for row in BACKENDS if row.name == name)


def suitable_dtype(backend: Backend, device: str) -> str:
    """The device's best dtype if the backend has it, else the backend's first."""
    best = best_dtype(device)
    return best if best in backend.dtypes else backend.dtypes[0]
