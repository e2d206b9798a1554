"""What training minimises."""

from collections.abc import Sequence

import torch
from torch import Tensor

from model.folded import FoldedLapSRN


def charbonnier(prediction: Tensor, target: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Mean of sqrt(difference^2 + eps^2) of two tensors of one shape, in units of full scale: a scalar.

    Lai et al. 2017, equation 3. Near L1 for differences above `epsilon`, near squared error below it.
    """
    return torch.sqrt((prediction - target) ** 2 + epsilon**2).mean()


def pyramid_loss(
    predictions: Sequence[Tensor], targets: Sequence[Tensor], weights: Sequence[float], epsilon: float = 1e-3
) -> Tensor:
    """The weighted sum of the losses of every level (deep supervision): a scalar.

    `predictions` and `targets` are [(N, 1, 2H, 2W), (N, 1, 4H, 4W), ...], with a weight for each.
    """
    terms = [w * charbonnier(p, t, epsilon) for p, t, w in zip(predictions, targets, weights, strict=True)]
    return torch.stack(terms).sum()


def loss_of(
    folded: FoldedLapSRN,
    padded: Tensor,
    targets: Sequence[Tensor],
    level_weights: Sequence[float],
    epsilon: float,
    dtype: torch.dtype,
) -> Tensor:
    """The loss of a folded network for a batch, features in `dtype`; arguments and result as in `pyramid_loss`.

    `padded` is the low resolution with its margin (N, 1, H + 2m, W + 2m).
    """
    return pyramid_loss(folded(padded, dtype), targets, level_weights, epsilon)
