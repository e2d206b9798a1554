"""A GPU's batches: host to host as they are served, the kernels alone, and the kernels replayed as a CUDA graph."""

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from app.settings import Settings
from bench.arithmetic import useful_flops
from bench.contestants import eager
from bench.machine import describe
from bench.pictures import luma
from bench.report import Plan, Section
from model.backends.torch_network import TorchNetwork, torch_dtype
from model.devices import devices
from model.runtime import Runtime, Weights, load

BATCHES = ((32, 1), (32, 16), (32, 64), (64, 1), (64, 16), (64, 64), (128, 1), (128, 8), (128, 32), (256, 1), (256, 8))
"""(edge of a core, tiles in a batch)."""
_LEAST_SECONDS = 0.3
"""That calls are timed for, however short one is."""


def measure(plan: Plan) -> Section:
    """Medians; rates count the arithmetic of direct convolutions, without that of the margins."""
    section = Section("accelerator", "An accelerator's batches: luma in host memory to ×2 and ×4 in host memory")
    device = devices("auto")[0]
    if device == "cpu":
        section.notes.append("No accelerator on this machine.")
        return section
    weights = Weights.open(Settings().weights)
    config = weights.info.config
    (runtime,) = load([weights], device).values()
    section.notes.append(f"{torch.cuda.get_device_name(device)}, {runtime.info.dtype}, torch {torch.__version__}.")
    section.add("best 64→64 3×3 convolution", convolution_rate(device, describe().dtype) / 1e12, "TFLOP/s")
    public = median(eager()(luma(256, 256)))
    section.add("public PyTorch, eager, float32, 256×256, host to host", 1000 * public, "ms")
    for edge, count in BATCHES[: plan.pick(len(BATCHES), 1)]:
        name, useful = f"{count} of {edge}×{edge}", count * useful_flops(config, edge, edge)
        tiles = np.random.default_rng(0).random((count, *2 * [edge + 2 * runtime.info.window_margin]), dtype=np.float32)
        whole, kernels, graph = (
            median(each) for each in (lambda t=tiles: runtime.run(t, 4), *_on_device(runtime, tiles))
        )
        section.add(f"{name}, host to host", 1000 * whole, "ms")
        section.add(f"{name}, kernels alone", 1000 * kernels, "ms")
        section.add(f"{name}, kernels as a CUDA graph", 1000 * graph, "ms")
        section.add(f"{name}, kernels alone, rate", useful / kernels / 1e12, "TFLOP/s")
        section.add(f"{name}, host to host, source", count * edge**2 / whole / 1e6, "megapixels/s")
    return section


def convolution_rate(device: str, dtype: str) -> float:
    """Operations per second of a 64→64 3x3 convolution, channels last, over enough pixels to fill the device."""
    features = torch.randn(8, 64, 514, 514, device=device).to(torch_dtype(dtype), memory_format=torch.channels_last)
    weight = torch.randn(64, 64, 3, 3, device=device).to(torch_dtype(dtype), memory_format=torch.channels_last)

    def convolve() -> None:
        F.conv2d(features, weight)
        torch.cuda.synchronize(device)

    return 2 * 9 * 64 * 64 * 8 * 512 * 512 / median(convolve)


def _on_device(runtime: Runtime, tiles: np.ndarray) -> tuple[Callable[[], object], Callable[[], object]]:
    """The network on tiles that are already on the device: launched as served, and replayed."""
    padded = torch.from_numpy(tiles)[:, None].to(runtime.info.device)

    served = runtime._plain.served
    assert isinstance(served, TorchNetwork)

    @torch.inference_mode()
    def network() -> object:
        return served.compute(padded, len(runtime.info.scales))

    def launched() -> None:
        network()
        torch.cuda.synchronize(runtime.info.device)

    launched()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        network()

    def replayed() -> None:
        graph.replay()
        torch.cuda.synchronize(runtime.info.device)

    return launched, replayed


def median(run: Callable[[], object]) -> float:
    """Seconds of one call, after two that are not counted."""
    run()
    run()
    times: list[float] = []
    while sum(times) < _LEAST_SECONDS or len(times) < 5:
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return statistics.median(times)
