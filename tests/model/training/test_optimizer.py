"""Muon: updates are orthogonal, of the size that Adam's have, and go downhill."""

import pytest
import torch

from model.training.optimizer import Muon, orthogonalise


def conditioned(rows: int, columns: int, smallest: float) -> torch.Tensor:
    """A matrix with singular values from `smallest` to 1."""
    torch.manual_seed(rows + columns)
    u, _ = torch.linalg.qr(torch.randn(rows, min(rows, columns)))
    v, _ = torch.linalg.qr(torch.randn(columns, min(rows, columns)))
    matrix: torch.Tensor = u * torch.linspace(smallest, 1, min(rows, columns)) @ v.T
    return matrix


@pytest.mark.parametrize(("rows", "columns"), [(8, 8), (8, 72), (64, 9), (64, 576), (1, 9)])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e4])
def test_orthogonalised_singular_values_are_close_to_one(rows: int, columns: int, size: float) -> None:
    matrix = conditioned(rows, columns, 0.05) * size
    result = orthogonalise(matrix)
    assert result.shape == matrix.shape
    values = torch.linalg.svdvals(result)
    assert 0.6 < values.min() <= values.max() < 1.3


def test_orthogonalising_keeps_singular_vectors() -> None:
    matrix = conditioned(6, 20, 0.2)
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    turned = u.T @ orthogonalise(matrix) @ vh.T
    assert (turned - torch.diag(turned.diagonal())).abs().max() < 1e-5
    assert turned.diagonal().min() > 0.6


def test_orthogonalising_zero_gives_zero() -> None:
    assert not orthogonalise(torch.zeros(3, 5)).any()


def test_a_step_has_the_size_of_adams_and_descends() -> None:
    torch.manual_seed(0)
    kernel = torch.nn.Parameter(torch.randn(16, 8, 3, 3))
    before = kernel.detach().clone()
    kernel.grad = torch.randn(16, 8, 3, 3)
    Muon([kernel], lr=0.01).step()
    moved = kernel.detach() - before
    assert 0.6 * 0.002 < moved.square().mean().sqrt() < 1.3 * 0.002
    assert (moved * kernel.grad).sum() < 0


def test_parameters_without_a_gradient_are_unchanged() -> None:
    kernel = torch.nn.Parameter(torch.ones(2, 2))
    Muon([kernel], lr=1.0).step()
    assert kernel.tolist() == [[1, 1], [1, 1]]


def test_momentum_carries_on() -> None:
    """After a gradient stops, the next update still has its direction: 0.95 * (0.95 * 0.05) of it is left."""
    kernel = torch.nn.Parameter(torch.zeros(4, 4))
    optimizer = Muon([kernel], lr=0.1)
    kernel.grad = torch.eye(4)
    optimizer.step()
    first = kernel.detach().clone()
    kernel.grad = torch.zeros(4, 4)
    optimizer.step()
    second = kernel.detach() - first
    assert torch.allclose(second, first, atol=1e-4)
    assert torch.allclose(optimizer.state[kernel]["momentum"], torch.eye(4) * 0.05 * 0.95, atol=1e-7)
