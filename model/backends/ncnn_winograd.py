"""The folded network's features on ncnn, whose Winograd kernels need under half of a direct convolution's arithmetic.

For CPUs that multiply float32 no slower than anything else. Winograd: Lavin and Gray, CVPR 2016.
"""

import struct
import tempfile
from pathlib import Path

import ncnn
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.folded import Conv, EagerConv, FoldedLapSRN, neighbour_differences

RAW_FLOAT32 = struct.pack("<I", 0)  # the tag ncnn expects before a weight that is stored as it is


class WinogradFeatures:
    """Residuals of a folded network, a tile at a time on the caller's thread; for any number of threads at once."""

    def __init__(self, network: FoldedLapSRN) -> None:
        graph, weights = describe(network)
        self.levels = len(network.levels)
        self._net = ncnn.Net()
        option = self._net.opt
        option.num_threads = 1
        for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage", "vulkan_compute"):
            setattr(option, f"use_{name}", False)
        # Buffers go back to these pools and not to the system: fresh pages cost more than the arithmetic.
        self._pools = ncnn.PoolAllocator(), ncnn.PoolAllocator()
        option.blob_allocator, option.workspace_allocator = self._pools
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "weights.bin"
            path.write_bytes(weights)
            if self._net.load_param_mem(graph) or self._net.load_model(str(path)):
                raise RuntimeError("ncnn refused the network; serve with LAPSRN_BACKEND=torch")

    def __call__(self, padded: Tensor, levels: int | None = None) -> list[Tensor]:
        """As FoldedLapSRN.residuals in float32; all levels by default.

        (N, 1, H + 2m, W + 2m) to [(N, 4, h, w), ...].
        """
        tiles = [self._run(np.ascontiguousarray(differences), levels or self.levels) for differences in entry(padded)]
        return [torch.from_numpy(np.stack(level)) for level in zip(*tiles, strict=True)]

    def _run(self, differences: NDArray[np.float32], levels: int) -> list[NDArray[np.float32]]:
        extractor = self._net.create_extractor()
        extractor.input("differences", ncnn.Mat(differences))
        residuals = []
        for level in range(levels):
            status, residual = extractor.extract(f"residual{level}")
            if status:
                raise MemoryError(f"ncnn could not run a tile of {differences.shape[-2:]} (status {status})")
            residuals.append(np.array(residual))
        return residuals


def entry(padded: Tensor) -> NDArray[np.float32]:
    """What the first layer sees, (N, 8, h, w)."""
    differences: NDArray[np.float32] = neighbour_differences(padded).numpy()
    return differences


def describe(network: FoldedLapSRN) -> tuple[str, bytes]:
    """ncnn's text of the graph, and its weights: features in, one blob of residual phases out of each level."""
    layers = ["Input differences 0 1 differences"]
    weights = bytearray()

    def convolution(conv: Conv | None, name: str, source: str, slope: float | None) -> str:
        assert isinstance(conv, EagerConv)
        weight = conv.weight.detach().float().cpu().numpy()
        bias = np.zeros(len(weight), np.float32) if conv.bias is None else conv.bias.detach().float().cpu().numpy()
        weights.extend(RAW_FLOAT32 + weight.tobytes() + bias.tobytes())
        activation = "" if slope is None else f" 9=2 -23310=1,{slope}"
        size = weight.shape[-1]
        layers.append(
            f"Convolution {name} 1 1 {source} {name} 0={len(weight)} 1={size} 4=0 5=1 6={weight.size}{activation}"
        )
        return name

    features = convolution(network.entry, "entry", "differences", network.slope)
    for i, level in enumerate(network.levels):
        for j, conv in enumerate(level.convs):
            features = convolution(conv, f"conv{i}_{j}", features, network.slope)
        last = i + 1 == len(network.levels)
        if not last:
            layers.append(f"Split split{i} 1 2 {features} {features}_a {features}_b")
        convolution(level.residual, f"residual{i}", features if last else f"{features}_a", None)
        if not last:
            phases = convolution(level.following, f"following{i}", f"{features}_b", network.slope)
            features = f"shuffled{i}"
            layers.append(f"PixelShuffle {features} 1 1 {phases} {features} 0=2 1=1")  # 1: phase by phase
    blobs = sum(int(line.split()[3]) for line in layers)
    return f"7767517\n{len(layers)} {blobs}\n" + "\n".join(layers) + "\n", bytes(weights)
