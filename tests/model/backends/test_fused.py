"""oneDNN's fused convolutions: the same numbers as plain ones, forward and backward, and a fallback."""

import pytest
import torch
from torch import Tensor

from model.backends.fused import PackedConv, TrainedConv, pack
from model.folded import EagerConv
from tests.model.networks import luma

needs_onednn = pytest.mark.skipif(not torch._C._has_mkldnn, reason="this build of torch has no oneDNN")


@needs_onednn
@pytest.mark.parametrize("slope", [None, 0.2])
@pytest.mark.parametrize("kernel", [1, 3])
@torch.inference_mode()
def test_packed_convolutions_equal_eager_ones(kernel: int, slope: float | None) -> None:
    weight = luma(16, 8, kernel, kernel).sub(0.5).to(memory_format=torch.channels_last)
    bias = luma(16, seed=1) - 0.5
    features = luma(3, 8, 9, 11, seed=2).sub(0.5).to(memory_format=torch.channels_last)
    packed = pack(weight, bias)
    assert isinstance(packed, PackedConv)
    ours, theirs = packed(features, slope), EagerConv(weight, bias)(features, slope)
    assert theirs.min() < -0.1
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-5)


def test_without_packing_convolutions_are_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: PackedConv, features: Tensor, slope: float | None = None) -> Tensor:
        raise RuntimeError("could not create a primitive descriptor")

    monkeypatch.setattr(PackedConv, "__call__", refuse)
    weight = luma(4, 2, 3, 3)
    conv = pack(weight, None)
    assert isinstance(conv, EagerConv)
    assert conv.weight is weight


@needs_onednn
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("slope", [None, 0.2])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_trained_convolutions_equal_eager_ones_forward_and_backward(
    slope: float | None, layout: torch.memory_format, dtype: torch.dtype, tolerance: float
) -> None:
    results = []
    for kind in (TrainedConv, EagerConv):
        weight, bias = (luma(16, 8, 3, 3) - 0.5).requires_grad_(), (luma(16, seed=1) - 0.5).requires_grad_()
        features = luma(3, 8, 9, 11, seed=2).sub(0.5).to(dtype, memory_format=layout).requires_grad_()
        out = kind(weight, bias)(features, slope)
        assert out.dtype == dtype
        assert out.float().min() < -0.1, "both sides of the LeakyReLU are there"
        (out.float() * luma(*out.shape, seed=3)).sum().backward()  # type: ignore[no-untyped-call]
        assert weight.grad is not None and weight.grad.dtype == torch.float32
        assert bias.grad is not None and bias.grad.dtype == torch.float32
        assert features.grad is not None
        results.append([out.detach(), weight.grad, bias.grad, features.grad])
    for ours, theirs in zip(*results, strict=True):
        scale = theirs.float().abs().max().item()
        assert torch.allclose(ours.float(), theirs.float(), rtol=0, atol=tolerance * scale)
