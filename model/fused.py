"""Convolution and LeakyReLU as one oneDNN kernel with weights packed once; the only place that uses private ops."""

from dataclasses import dataclass

import torch
from torch import Tensor

from model.folded import Conv, EagerConv


@dataclass(frozen=True, slots=True)
class PackedConv:
    """A valid convolution whose weight is in oneDNN's own blocked layout. Same numbers as EagerConv, fewer passes."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, features: Tensor, slope: float | None = None) -> Tensor:
        """(N, C, H, W), channels last, in the weight's dtype."""
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(
            features,
            self.weight,
            self.bias,
            [0, 0],
            [1, 1],
            [1, 1],
            1,
            "none" if slope is None else "leaky_relu",
            [] if slope is None else [slope],
            "",
        )
        return out


def pack(weight: Tensor, bias: Tensor | None) -> Conv:
    """A PackedConv where this build of torch can, else an EagerConv; weight (O, C, k, k)."""
    try:
        packed = torch.ops.mkldnn._reorder_convolution_weight(weight, [0, 0], [1, 1], [1, 1], 1, None)
        conv = PackedConv(packed, bias)
        conv(torch.zeros(1, weight.shape[1], 8, 8, dtype=weight.dtype).to(memory_format=torch.channels_last), 0.2)
    except (AttributeError, RuntimeError):
        return EagerConv(weight, bias)
    return conv
