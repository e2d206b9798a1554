"""Muon for convolutions (Jordan et al. 2024): momentum whose update is orthogonalised, each kernel as one matrix."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


def orthogonalise(matrices: Tensor, iterations: int = 5) -> Tensor:
    """Singular values moved close to 1 by Newton-Schulz iterations; (..., rows, columns) with any shape."""
    a, b, c = 3.4445, -4.7750, 2.0315  # the quintic of the paper: steepest at zero that still stays near one
    tall = matrices.shape[-2] > matrices.shape[-1]
    wide = matrices.mT if tall else matrices
    x: Tensor = wide / (wide.norm(dim=(-2, -1), keepdim=True) + 1e-12)
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Muon with the update scaled to the size of Adam's (0.2 root mean square), so that one learning rate fits both."""

    def __init__(self, parameters: Iterable[Tensor], lr: float | Tensor, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update; every parameter has at least two dimensions, the first against all others.

        Those of one shape are orthogonalised together, which takes as many times fewer calls.
        """
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in alike.items():
                updates = orthogonalise(torch.stack([self._direction(p, group["momentum"]) for p in parameters]))
                scale = 0.2 * max(updates.shape[-2:]) ** 0.5
                for parameter, update in zip(parameters, updates, strict=True):
                    parameter.sub_(update.reshape(shape) * (group["lr"] * scale))

    def _direction(self, parameter: Tensor, momentum: float) -> Tensor:
        """Where Nesterov's momentum points, as one matrix."""
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        assert parameter.grad is not None
        state["momentum"].lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(state["momentum"], momentum).reshape(len(parameter), -1)
