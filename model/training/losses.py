"""What training minimises."""

from collections.abc import Sequence

import torch
from torch import Tensor


def charbonnier(prediction: Tensor, target: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Mean of sqrt(difference^2 + eps^2) over all pixels, in 0..1 units (Lai et al. 2017, equation 3).

    Near L1 for differences above `epsilon`, near squared error below it.
    """
    return torch.sqrt((prediction - target) ** 2 + epsilon**2).mean()


def pyramid_loss(
    predictions: Sequence[Tensor], targets: Sequence[Tensor], weights: Sequence[float], epsilon: float = 1e-3
) -> Tensor:
    """Charbonnier on every level (deep supervision), each with its weight."""
    terms = [w * charbonnier(p, t, epsilon) for p, t, w in zip(predictions, targets, weights, strict=True)]
    return torch.stack(terms).sum()
