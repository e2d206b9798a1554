"""Which widths oneDNN's convolutions like, as they shrink and as they are kept; not one of the six measures."""

import statistics
import time

import torch

from bench.machine import describe
from bench.report import Plan, Section
from model.fused import pack
from model.torch_network import torch_dtype

HEIGHT, LAYERS, CHANNELS = 108, 4, 64
WIDTHS = (48, 64, 80, 96, 104, 112, 124, 128, 136, 160, 192, 208, 224, 240, 252, 256, 264)


def measure(plan: Plan) -> Section:
    """GFLOP/s of one thread in four 64→64 3×3 convolutions with LeakyReLU, one after the other."""
    torch.set_num_threads(1)
    dtype = describe().dtype
    section = Section("widths", f"Widths: {LAYERS} convolutions 64→64 3×3 in {dtype} on {HEIGHT} rows, one thread")
    kind = torch_dtype(dtype)
    weight = (torch.randn(CHANNELS, CHANNELS, 3, 3) / 24).to(kind, memory_format=torch.channels_last)
    bias = torch.zeros(CHANNELS, dtype=kind)
    widths = WIDTHS[: plan.pick(len(WIDTHS), 1)]
    times: dict[tuple[int, int], list[float]] = {(width, sides): [] for width in widths for sides in (0, 1)}
    with torch.inference_mode():
        for _ in range(plan.pick(7, 1)):
            for width, sides in times:
                conv = pack(weight, bias, sides)
                first = torch.randn(1, CHANNELS, HEIGHT, width).to(kind, memory_format=torch.channels_last)
                for _ in range(2):  # the first makes the kernels
                    began, features = time.perf_counter(), first
                    for _ in range(LAYERS):
                        features = conv(features, 0.2)
                times[width, sides].append(time.perf_counter() - began)
    for (width, sides), found in times.items():
        done = sum((HEIGHT - 2 * i) * (width - 2 * i * (1 - sides)) for i in range(1, LAYERS + 1))
        rate = 2 * 9 * CHANNELS**2 * done / statistics.median(found) / 1e9
        section.add(f"{width} columns, {'kept by zeros' if sides else 'shrinking'}", rate, "GFLOP/s")
    return section
