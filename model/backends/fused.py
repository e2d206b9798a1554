"""Convolution and LeakyReLU as one oneDNN kernel, serving and training; the only place that uses private ops."""

from dataclasses import dataclass
from typing import Any

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
        return convolve(features, self.weight, self.bias, slope)


@dataclass(frozen=True, slots=True)
class TrainedConv:
    """A valid convolution with float32 weight (O, C, k, k) and bias (O,), computed in the dtype of what comes in.

    Same numbers as EagerConv, forward and backward. LeakyReLU is computed with the convolution, so only its output is
    kept for backward.
    """

    weight: Tensor
    bias: Tensor

    def __call__(self, features: Tensor, slope: float | None = None) -> Tensor:
        """(N, C, H, W); channels last come out."""
        out: Tensor = _Differentiable.apply(features, self.weight, self.bias, slope)  # type: ignore[no-untyped-call]
        return out


class _Differentiable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, slope: float | None) -> Tensor:
        ctx.slope = slope
        features = features.contiguous(memory_format=torch.channels_last)
        cast = weight.to(features.dtype, memory_format=torch.channels_last)
        out = convolve(features, cast, bias.to(features.dtype), slope)
        ctx.save_for_backward(features, cast, out)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        features, weight, out = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        if ctx.slope is not None:
            gradient = torch.ops.aten.leaky_relu_backward(gradient, out, ctx.slope, True)
        sizes, zeros, ones = [len(weight)], [0, 0], [1, 1]
        needed = [ctx.needs_input_grad[0], True, True]
        to_features, to_weight, to_bias = torch.ops.aten.convolution_backward(
            gradient, features, weight, sizes, ones, zeros, ones, False, zeros, 1, needed
        )
        return to_features, to_weight.float(), to_bias.float(), None


def convolve(features: Tensor, weight: Tensor, bias: Tensor | None, slope: float | None) -> Tensor:
    """oneDNN's convolution with LeakyReLU as its post-operation, valid; CPU, all in one dtype."""
    activation = ("none", []) if slope is None else ("leaky_relu", [slope])
    out: Tensor = torch.ops.mkldnn._convolution_pointwise(
        features, weight, bias, [0, 0], [1, 1], [1, 1], 1, *activation, ""
    )
    return out


def pack(weight: Tensor, bias: Tensor | None) -> Conv:
    """A PackedConv where this build of torch can, else an EagerConv, valid; weight (O, C, k, k)."""
    try:
        packed = torch.ops.mkldnn._reorder_convolution_weight(weight, [0, 0], [1, 1], [1, 1], 1, None)
        conv = PackedConv(packed, bias)
        conv(torch.zeros(1, weight.shape[1], 8, 8, dtype=weight.dtype).to(memory_format=torch.channels_last), 0.2)
    except (AttributeError, RuntimeError):
        return EagerConv(weight, bias)
    return conv
