"""What a training step makes of networks: the mean of two, and one whose kernels gather the gradients."""

import torch
from torch import Tensor

from model.backends.fused import TrainedConv
from model.folded import Conv, EagerConv, FoldedLapSRN, centred
from model.network import LapSRN


def mix(into: LapSRN, near: LapSRN, far: LapSRN, strength: float | Tensor) -> LapSRN:
    """The mean of the parameters of two networks, `strength` of the second: what is served at that strength.

    Deep network interpolation (Wang et al., CVPR 2019), for networks of which one began as the other.
    """
    ends = zip(into.parameters(), near.parameters(), far.parameters(), strict=True)
    with torch.no_grad():
        for parameter, first, second in ends:
            parameter.copy_(torch.lerp(first, second, torch.as_tensor(strength, device=first.device)))
    return into


def detached(folded: FoldedLapSRN, fused: bool) -> tuple[FoldedLapSRN, dict[Tensor, Tensor]]:
    """The same network on new leaf tensors, and the leaf of each folded kernel and bias.

    Micro-batches gather their gradients there, in float32, so that folding and its backward are paid once a step.
    `fused` computes features with oneDNN's fused convolutions. Residuals are centred by constants, as in serving: what
    their biases add is subtracted again, so their gradients are nothing but rounding noise, on which Adam would let
    them drift until reduced precision had no bits left for the picture.
    """
    leaves: dict[Tensor, Tensor] = {}
    with torch.no_grad():
        folded = centred(folded)

    def leaf(tensor: Tensor) -> Tensor:
        if not tensor.requires_grad:  # of a level that is frozen
            return tensor
        leaves[tensor] = tensor.detach().requires_grad_()
        return leaves[tensor]

    def own(conv: Conv) -> Conv:
        assert isinstance(conv, EagerConv)
        if conv.bias is None:
            return EagerConv(leaf(conv.weight))
        return (TrainedConv if fused else EagerConv)(leaf(conv.weight), leaf(conv.bias))

    return folded.map(own, own), leaves
