"""A training step and everything it changes: network, moving average, optimizers, and their state on disk."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from model.backends.torch_network import torch_dtype
from model.checkpoint import load_tensors, load_weights, save_tensors
from model.entry import UsageError
from model.network import LapSRN, LapSRNConfig
from model.training.cuda_graph import GraphedStep
from model.training.losses import loss_of
from model.training.networks import detached, mix
from model.training.optimizer import Muon
from model.training.patches import PatchSource
from model.training.recipe import TrainConfig, as_typed


class Trainer:
    """One process of a run: network, its moving average, optimizers, and the step they are at.

    `compiled` has torch.compile merge what surrounds the convolutions, for accelerators. There a step is recorded as a
    CUDA graph, the exchange of gradients with other processes included: launching it piece by piece takes several times
    as long as computing it.
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
        self.network = self._new_network()
        self.average = LapSRN(config.network()).to(device)
        self.average.load_state_dict(self.network.state_dict())
        self.anchor = LapSRN(config.network()).to(device).requires_grad_(False) if config.strengths else None
        """The near end of the line of networks that is trained: what is served at strength 0."""
        self._mixed = self.network if self.anchor is None else self._new_network()
        """What steps go through: the network that is trained, or a mean of it and the anchor."""
        self.named = {name: p for name, p in self.network.named_parameters() if p.requires_grad}
        # Tensors, so that a recorded step finds new values in the same place.
        self._rate, self._average_step, self._strength = (torch.zeros((), device=device) for _ in range(3))
        self.optimizers = self._optimizers()
        self._loss_of = torch.compile(loss_of, dynamic=False) if compiled else loss_of
        self._graphs: dict[tuple[PatchSource, float], GraphedStep] = {}
        self.step = 0
        self.start_sha256: str | None = None
        """SHA-256 of the weights file that the run started from."""
        self.anchor_sha256: str | None = None
        """SHA-256 of the weights file that `anchor` is from."""
        self.changes: list[dict[str, Any]] = []
        """Settings that were changed on the way: {"step": from which on, name: [old, new], ...}."""
        self.best: dict[str, Any] | None = None
        """Step and PSNR of the best validation so far."""
        self.pictures: dict[str, Any] = {}
        """What is trained on, as PatchSource.about says; before a run's first step only what to hold out."""
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.world = dist.get_world_size() if dist.is_initialized() else 1
        if config.batch % self.world:
            raise UsageError(f"a batch of {config.batch} cannot be shared by {self.world} processes; give a multiple")

    def _new_network(self) -> LapSRN:
        """A network on the device whose gradients are computed, except for those of frozen levels."""
        network = LapSRN(self.config.network()).to(self.device)
        for level in network.levels[: self.config.frozen]:
            level.requires_grad_(False)
        return network

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
        """One update of weights and average; returns this process's loss, which the device may still be computing."""
        chosen = source.choose(self.step, self.config.batch // self.world, self.rank)
        self._schedule()
        self._strength.fill_(self.config.strengths[source.kind(self.step)] if self.config.strengths else 1.0)
        epsilon = self.config.epsilon_at(self.step)
        if self.device == "cpu":
            loss = self._advance(source, chosen.to(self.device), epsilon)
        else:
            if (source, epsilon) not in self._graphs:
                advance = partial(self._advance, source, epsilon=epsilon)
                self._graphs[source, epsilon] = GraphedStep(advance, self.device)
            loss = self._graphs[source, epsilon](chosen)
        self.step += 1
        return loss

    def _schedule(self) -> None:
        """Sets the learning rate of this step, and the share of the weights in the moving average."""
        self._rate.fill_(self.config.rate_at(self.step))
        self._average_step.fill_(1 - min(self.config.ema, (2 + self.step) / (11 + self.step)))

    def _advance(self, source: PatchSource, chosen: Tensor, epsilon: float) -> Tensor:
        """The part of a step that runs on the device; returns this process's loss."""
        config = self.config
        patches = source.cut(chosen)
        mine = len(patches[0])
        total = torch.zeros((), device=self.device)
        if self.anchor is not None:
            mix(self._mixed, self.anchor, self.network, self._strength)
        folded, kernels = detached(self._mixed.fold(), self.device == "cpu" and self.dtype != torch.float32)
        for first in range(0, mine, self.micro_batch):
            padded, *targets = (level[first : first + self.micro_batch] for level in patches)
            loss = self._loss_of(folded, padded, targets, config.level_weights, epsilon, self.dtype)
            loss = loss * (len(padded) / mine)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        torch.autograd.backward(list(kernels), [leaf.grad for leaf in kernels.values()])
        if self.anchor is not None:
            self._gradients_to_far_end()
        self._update()
        return total

    def _gradients_to_far_end(self) -> None:
        """Passes gradients of the mixed network to the far end: its share in the mix is the strength."""
        for name, parameter in self._mixed.named_parameters():
            if parameter.grad is not None:
                self.named[name].grad = parameter.grad * self._strength
                parameter.grad = None

    def _update(self) -> None:
        """Averages the gradients over the processes, clips them, and updates the weights and their moving average."""
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
                averages[name].lerp_(value, self._average_step)

    def start_from(self, weights: Path, anchor: Path | None = None) -> None:
        """Begins with the network of a weights file of the same depth; levels that it lacks begin as its finest one.

        `anchor` is the near end where strengths are trained, by default the same weights.
        """
        network, info = load_weights(weights)
        self._check(network.config, weights)
        if len(network.levels) == 1 < len(self.network.levels):
            raise UsageError(f"{weights} has one level, and its first layer sees luma; start from x4 or x8 weights")
        if self.anchor is not None:
            near, about = (network, info) if anchor is None else load_weights(anchor)
            self._check(near.config, anchor or weights)
            if near.config != self.anchor.config:
                raise UsageError(f"{anchor or weights} is for scale {near.config.scale}, not {self.config.scale}")
            self.anchor.load_state_dict(near.state_dict())
            self.anchor_sha256 = about.sha256
        self.start_sha256 = info.sha256
        self.pictures = {"held_out": info.pictures.get("held_out", [])}
        for mine in (self.network, self.average):
            for i, level in enumerate(mine.levels):
                same = network.levels[min(i, len(network.levels) - 1)]
                level.load_state_dict(same.state_dict())

    def _check(self, config: LapSRNConfig, weights: Path) -> None:
        """Raises UsageError if the levels of these weights are not those of this run."""
        mine = self.config.network()
        theirs = (config.depth_of_levels + config.depth_of_levels[-1:] * mine.levels)[: mine.levels]
        shapes = (("depths", theirs, mine.depth_of_levels), ("skips", config.skips, mine.skips))
        for name, found, wanted in (*shapes, ("width", config.width, mine.width), ("slope", config.slope, mine.slope)):
            if found != wanted:
                raise UsageError(f"{weights} has {name} {as_typed(found)}, not {as_typed(wanted)}; train with the same")

    def averaged(self, strength: float | None = None) -> LapSRN:
        """The network of the averaged weights or, given a strength, the one that they and the anchor make."""
        if self.anchor is None or strength is None:
            return self.average
        return mix(LapSRN(self.average.config).to(self.device).eval(), self.anchor, self.average, strength)

    def mean_of_all(self, value: Tensor) -> Tensor:
        """The mean over the processes of the run, of each element."""
        if self.world > 1:
            value = value.clone()
            dist.all_reduce(value)
            value /= self.world
        return value

    def is_finite(self) -> bool:
        """Whether every weight is a number."""
        return all(bool(torch.isfinite(p).all()) for net in (self.network, self.average) for p in net.parameters())

    def save(self, path: Path) -> None:
        """Everything that a resumed run needs to go on exactly as if it had not stopped."""
        tensors: dict[str, Tensor] = {}
        for name, parameter in self.network.named_parameters():
            tensors[f"network/{name}"] = parameter
            for optimizer in self.optimizers:
                for key, value in optimizer.state.get(parameter, {}).items():
                    tensors[f"optimizer/{name}/{key}"] = torch.as_tensor(value)
        tensors |= {f"average/{name}": value for name, value in self.average.named_parameters()}
        if self.anchor is not None:
            tensors |= {f"anchor/{name}": value for name, value in self.anchor.named_parameters()}
        about = {
            "step": self.step,
            "config": asdict(self.config),
            "origin": self.start_sha256,
            "anchor": self.anchor_sha256,
        }
        about |= {"changes": self.changes, "best": self.best, "pictures": self.pictures}
        save_tensors(path, tensors, about)

    @property
    def recipe(self) -> dict[str, Any]:
        """What goes into the weights file: every setting, where the run started unless from nothing, and changes."""
        more = {"start_from": self.start_sha256, "anchor": self.anchor_sha256, "changes": self.changes}
        return asdict(self.config) | {name: value for name, value in more.items() if value}

    @staticmethod
    def peek(path: Path) -> dict[str, Any]:
        """The metadata of a state: step, config, origin, anchor, changes, best, pictures. Raises WeightsError."""
        return load_tensors(path)[1]

    def load(self, path: Path) -> None:
        """Restores what `save` wrote. Raises WeightsError."""
        tensors, metadata = load_tensors(path)
        self.step = metadata["step"]
        self.start_sha256, self.anchor_sha256 = metadata.get("origin"), metadata.get("anchor")
        self.changes, self.best = metadata.get("changes") or [], metadata.get("best")
        self.pictures = metadata.get("pictures") or {}
        networks = {"network": self.network, "average": self.average, "anchor": self.anchor}
        parameters = {kind: dict(each.named_parameters()) for kind, each in networks.items() if each is not None}
        optimizer_of = {id(p): each for each in self.optimizers for group in each.param_groups for p in group["params"]}
        with torch.no_grad():
            for key, tensor in tensors.items():
                kind, name = key.split("/", 1)
                if kind in networks:
                    parameters[kind][name].copy_(tensor)
                else:
                    name, entry = name.rsplit("/", 1)
                    owner = self.named[name]
                    optimizer_of[id(owner)].state[owner][entry] = tensor.to(owner.device, copy=True)
