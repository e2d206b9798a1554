"""Charbonnier by hand."""

import pytest
import torch

from model.training.losses import charbonnier, pyramid_loss


def test_charbonnier_by_hand() -> None:
    """Differences 3e-3 and 4e-3 with epsilon 4e-3: hypotenuses 5e-3 and 4e-3 sqrt 2."""
    loss = charbonnier(torch.tensor([0.503, 0.104]), torch.tensor([0.5, 0.1]), 4e-3)
    assert loss.item() == pytest.approx((5e-3 + 4e-3 * 2**0.5) / 2, rel=1e-4)


def test_charbonnier_is_l1_far_from_zero_and_smooth_at_it() -> None:
    far = charbonnier(torch.full((2, 3), 0.9), torch.full((2, 3), 0.4))
    assert far.item() == pytest.approx(0.5, abs=2e-6)
    same = torch.zeros(4, requires_grad=True)
    charbonnier(same, torch.zeros(4)).backward()  # type: ignore[no-untyped-call]
    assert same.grad is not None
    assert same.grad.tolist() == [0, 0, 0, 0]


def test_every_level_counts_with_its_weight() -> None:
    predictions = [torch.full((1, 1, 2, 2), 0.3), torch.full((1, 1, 4, 4), 0.8)]
    targets = [torch.full((1, 1, 2, 2), 0.1), torch.full((1, 1, 4, 4), 0.4)]
    assert pyramid_loss(predictions, targets, (0.5, 1.0)).item() == pytest.approx(0.5 * 0.2 + 0.4, abs=1e-4)


def test_the_numbers_of_levels_weights_and_targets_must_match() -> None:
    with pytest.raises(ValueError, match="zip"):
        pyramid_loss([torch.zeros(1)], [torch.zeros(1)], (0.5, 1.0))
