"""Small networks with weights that hide nothing, and pictures for them."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.network import LapSRN, LapSRNConfig

DEPTHS_AND_SCALES = [(depth, scale) for depth in (1, 5, 10) for scale in (2, 4, 8)]


def random_network(config: LapSRNConfig, seed: int = 0) -> LapSRN:
    """A network in which nothing is zero or symmetric: biases, kernels and image upsampling are all moved at random."""
    torch.manual_seed(seed)
    network = LapSRN(config).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            size = 0.1 if name.endswith("bias") or "image_up" in name else 0.3 * parameter.std().item()
            parameter.add_(torch.randn(parameter.shape), alpha=size)
    return network


def luma(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Noise in 0..1, always the same."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def plane(height: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    """Noise in 0..1 (height, width), float32."""
    return luma(height, width, seed=seed).numpy()
