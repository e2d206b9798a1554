"""Muon for convolutions (Jordan et al. 2024): momentum whose update is orthogonalised, each kernel as one matrix."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


def orthogonalise(matrix: Tensor, iterations: int = 5) -> Tensor:
    """Singular values moved close to 1 by Newton-Schulz iterations; (rows, columns) with any shape."""
    a, b, c = 3.4445, -4.7750, 2.0315  # the quintic of the paper: steepest at zero that still stays near one
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x: Tensor = wide / (wide.norm() + 1e-12)
    for _ in range(iterations):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if matrix.shape[0] <= matrix.shape[1] else x.T


class Muon(torch.optim.Optimizer):
    """Muon with the update scaled to the size of Adam's (0.2 root mean square), so that one learning rate fits both."""

    def __init__(self, parameters: Iterable[Tensor], lr: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update; every parameter has at least two dimensions, the first against all others."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                look_ahead = parameter.grad.lerp(state["momentum"], group["momentum"])
                update = orthogonalise(look_ahead.reshape(len(look_ahead), -1))
                scale = 0.2 * max(update.shape) ** 0.5
                parameter.sub_(update.reshape(parameter.shape), alpha=group["lr"] * scale)
