"""oneDNN's fused convolutions: the same numbers as plain ones, forward and backward, and a fallback."""

import pytest
import torch
from torch import Tensor

from model.folded import Conv, EagerConv, FoldedLapSRN, crop_to
from model.fused import PackedConv, TrainedConv, pack
from model.network import LapSRNConfig
from tests.model.networks import luma, random_network

needs_onednn = pytest.mark.skipif(not torch._C._has_mkldnn, reason="this build of torch has no oneDNN")


@needs_onednn
@pytest.mark.parametrize("slope", [None, 0.2])
@pytest.mark.parametrize("kernel", [1, 3])
@torch.inference_mode()
def test_packed_is_eager(kernel: int, slope: float | None) -> None:
    weight = luma(16, 8, kernel, kernel).sub(0.5).to(memory_format=torch.channels_last)
    bias = luma(16, seed=1) - 0.5
    features = luma(3, 8, 9, 11, seed=2).sub(0.5).to(memory_format=torch.channels_last)
    packed = pack(weight, bias)
    assert isinstance(packed, PackedConv)
    ours, theirs = packed(features, slope), EagerConv(weight, bias)(features, slope)
    assert theirs.min() < -0.1
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-5)


def test_where_packing_is_not_to_be_had_it_is_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: PackedConv, features: Tensor, slope: float | None = None) -> Tensor:
        raise RuntimeError("could not create a primitive descriptor")

    monkeypatch.setattr(PackedConv, "__call__", refuse)
    weight = luma(4, 2, 3, 3)
    conv = pack(weight, None, sides=1)
    assert isinstance(conv, EagerConv)
    assert conv.weight is weight


@needs_onednn
@torch.inference_mode()
def test_columns_of_zeros_keep_the_width_and_leave_the_middle_alone() -> None:
    weight, bias = luma(16, 8, 3, 3) - 0.5, luma(16, seed=1)
    features = luma(2, 8, 9, 12, seed=2).to(memory_format=torch.channels_last)
    wide, valid = pack(weight, bias, sides=1)(features, 0.2), pack(weight, bias)(features, 0.2)
    assert wide.shape == (2, 16, 7, 12)
    assert torch.allclose(wide[..., 1:-1], valid, rtol=0, atol=1e-5)


@needs_onednn
@pytest.mark.parametrize("scale", [2, 4, 8])
@torch.inference_mode()
def test_a_network_that_keeps_its_widths_is_the_valid_one(scale: int) -> None:
    """What the zeros reach is cropped, at every level, and the shapes at the end are those of valid convolutions."""
    config = LapSRNConfig(scale=scale, depth=3, width=8)
    valid = random_network(config).fold()

    def keep(conv: Conv) -> Conv:
        assert isinstance(conv, EagerConv)
        return pack(conv.weight, conv.bias, sides=1)

    wide = FoldedLapSRN(valid.entry, valid.map(keep, lambda c: c, lambda c: c).levels, config.margin, config.slope)
    padded = luma(2, 1, 7 + 2 * config.margin, 10 + 2 * config.margin)
    for ours, theirs in zip(wide.residuals(padded), valid.residuals(padded), strict=True):
        assert ours.shape[-2] == theirs.shape[-2]
        assert ours.shape[-1] > theirs.shape[-1]
        assert torch.allclose(crop_to(ours, *theirs.shape[-2:]), theirs, rtol=0, atol=1e-5)
    for ours, theirs in zip(wide(padded), valid(padded), strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-5)


@needs_onednn
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("slope", [None, 0.2])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_trained_is_eager_forward_and_backward(
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
