"""A training step and everything it changes: network, moving average, optimizers, and their state on disk."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from model.backends.fused import TrainedConv
from model.backends.torch_network import torch_dtype
from model.checkpoint import load_tensors, load_weights, save_tensors
from model.folded import Conv, EagerConv, FoldedLapSRN, centred
from model.network import LapSRN
from model.training.cuda_graph import GraphedStep
from model.training.losses import pyramid_loss
from model.training.optimizer import Muon
from model.training.patches import PatchSource
from model.training.recipe import TrainConfig


def loss_of(
    folded: FoldedLapSRN,
    padded: Tensor,
    targets: Sequence[Tensor],
    level_weights: Sequence[float],
    epsilon: float,
    dtype: torch.dtype,
) -> Tensor:
    """What a folded network's predictions for a batch cost."""
    return pyramid_loss(folded(padded, dtype), targets, level_weights, epsilon)


class Trainer:
    """One process of a run: network, its moving average, optimizers, and the step they are at.

    `compiled` has torch.compile merge what surrounds the convolutions, for accelerators. One process with one of them
    records its step as a CUDA graph: launching it piece by piece takes several times as long as computing it.
    `micro_batch`: patches that go through the network at once, 0 for as many as suit the device. Gradients add up to
    the same whatever it is.
    """

    def __init__(
        self, config: TrainConfig, device: str, dtype: str, *, micro_batch: int = 0, compiled: bool = False
    ) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.device = device
        self.dtype = torch_dtype(dtype)
        self.micro_batch = micro_batch or (8 if device == "cpu" else config.batch)
        self.network = LapSRN(config.network()).to(device)
        self.average = LapSRN(config.network()).to(device)
        self.average.load_state_dict(self.network.state_dict())
        for level in list(self.network.levels)[: config.frozen]:
            level.requires_grad_(False)
        self.named = {name: p for name, p in self.network.named_parameters() if p.requires_grad}
        # Tensors, so that a recorded step finds new values in the same place.
        self._rate, self._following = (torch.zeros((), device=device) for _ in range(2))
        self.optimizers = self._optimizers()
        self._loss_of = torch.compile(loss_of, dynamic=False) if compiled else loss_of
        self._graphs: dict[tuple[PatchSource, float], GraphedStep] = {}
        self.step = 0
        self.origin: str | None = None
        """SHA-256 of the weights file that the run started from."""
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.world = dist.get_world_size() if dist.is_initialized() else 1

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        """Muon takes the kernels between features; Adam takes the rest, or everything."""
        muon = [p for p in self.named.values() if p.ndim == 4 and min(p.shape[:2]) > 1]
        if self.config.optimizer == "adam":
            muon = []
        chosen = {id(p) for p in muon}
        adam = [p for p in self.named.values() if id(p) not in chosen]
        cuda = self.device != "cpu"
        made: list[torch.optim.Optimizer] = [torch.optim.Adam(adam, lr=self._rate, fused=cuda, capturable=cuda)]
        return [*made, Muon(muon, lr=self._rate)] if muon else made

    def train_step(self, source: PatchSource) -> Tensor:
        """One update of weights and average; returns this process's loss, which nobody has waited for yet."""
        chosen = source.choose(self.step, self.config.batch // self.world, self.rank)
        self._schedule()
        epsilon = self.config.epsilon_at(self.step)
        if self.device == "cpu" or self.world > 1:
            loss = self._advance(source, chosen.to(self.device), epsilon)
        else:
            if (source, epsilon) not in self._graphs:
                advance = partial(self._advance, source, epsilon=epsilon)
                self._graphs[source, epsilon] = GraphedStep(advance, self.device)
            loss = self._graphs[source, epsilon](chosen)
        self.step += 1
        return loss

    def _schedule(self) -> None:
        """Set the learning rate of this step, and how far the average goes after the weights."""
        self._rate.fill_(self.config.rate_at(self.step))
        self._following.fill_(1 - min(self.config.ema, (2 + self.step) / (11 + self.step)))

    def _advance(self, source: PatchSource, chosen: Tensor, epsilon: float) -> Tensor:
        """The part of a step that the device does."""
        config = self.config
        patches = source.cut(chosen)
        mine = len(patches[0])
        total = torch.zeros((), device=self.device)
        folded, kernels = detached(self.network.fold(), self.device == "cpu" and self.dtype != torch.float32)
        for first in range(0, mine, self.micro_batch):
            padded, *targets = (level[first : first + self.micro_batch] for level in patches)
            loss = self._loss_of(folded, padded, targets, config.level_weights, epsilon, self.dtype)
            loss = loss * (len(padded) / mine)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        torch.autograd.backward(list(kernels), [leaf.grad for leaf in kernels.values()])
        self._update()
        return total

    def _update(self) -> None:
        parameters = list(self.named.values())
        if self.world > 1:
            moved = [p for p in parameters if p.grad is not None]
            flat = torch.cat([p.grad.reshape(-1) for p in moved if p.grad is not None])
            dist.all_reduce(flat)
            flat /= self.world
            for p, part in zip(moved, torch.split(flat, [p.numel() for p in moved]), strict=True):
                p.grad = part.view_as(p).clone()
        torch.nn.utils.clip_grad_norm_(parameters, self.config.clip)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        averages = dict(self.average.named_parameters())
        with torch.no_grad():
            for name, value in self.named.items():
                averages[name].lerp_(value, self._following)

    def start_from(self, weights: Path) -> None:
        """Begin with the network of a weights file of the same depth; levels that it lacks begin as its finest."""
        network, info = load_weights(weights)
        if network.config.depth != self.config.depth:
            raise ValueError(f"{weights} has depth {network.config.depth}; train with --depth {network.config.depth}")
        if len(network.levels) == 1 < len(self.network.levels):
            raise ValueError(f"{weights} has one level, and its first layer sees luma; start from x4 or x8 weights")
        self.origin = info.sha256
        for mine in (self.network, self.average):
            for i, level in enumerate(mine.levels):
                same = network.levels[min(i, len(network.levels) - 1)]
                level.load_state_dict(same.state_dict())

    def save(self, path: Path) -> None:
        """Everything that a resumed run needs to go on exactly as if it had not stopped."""
        tensors: dict[str, Tensor] = {}
        for name, parameter in self.network.named_parameters():
            tensors[f"network/{name}"] = parameter
            for optimizer in self.optimizers:
                for key, value in optimizer.state.get(parameter, {}).items():
                    tensors[f"optimizer/{name}/{key}"] = torch.as_tensor(value)
        tensors |= {f"average/{name}": value for name, value in self.average.named_parameters()}
        save_tensors(path, tensors, {"step": self.step, "config": asdict(self.config), "origin": self.origin})

    @property
    def recipe(self) -> dict[str, Any]:
        """What goes into the weights file: every setting, and where the run started unless from nothing."""
        return asdict(self.config) | ({"start_from": self.origin} if self.origin else {})

    def load(self, path: Path) -> None:
        """Take up the state of `save`."""
        tensors, metadata = load_tensors(path)
        self.step = metadata["step"]
        self.origin = metadata.get("origin")
        networks, averages = (dict(network.named_parameters()) for network in (self.network, self.average))
        with torch.no_grad():
            for key, tensor in tensors.items():
                kind, name = key.split("/", 1)
                if kind == "network":
                    networks[name].copy_(tensor)
                elif kind == "average":
                    averages[name].copy_(tensor)
                else:
                    name, entry = name.rsplit("/", 1)
                    owner = self.named[name]
                    for optimizer in self.optimizers:
                        if any(owner is p for group in optimizer.param_groups for p in group["params"]):
                            optimizer.state[owner][entry] = tensor.to(owner.device, copy=True)


def detached(folded: FoldedLapSRN, fused: bool) -> tuple[FoldedLapSRN, dict[Tensor, Tensor]]:
    """The same network on leaves of its own, and which leaf stands for which folded kernel or bias.

    Micro-batches gather their gradients there, in float32, so that folding and its backward are paid once a step.
    `fused` computes features with oneDNN's fused convolutions. Residuals are centred by constants, as in serving: what
    their biases add is taken off again, so they have no gradient but the noise of the arithmetic, by which Adam would
    carry them off until reduced precision had no bits left for the picture.
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
