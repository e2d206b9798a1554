"""A training step: it learns, its average and its gradients are what they should be."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from model.folded import EagerConv
from model.network import LapSRNConfig
from model.training.networks import detached
from model.training.patches import PatchSource
from model.training.trainer import Trainer
from tests.model.networks import TINY_CONFIG, luma, random_network


@pytest.mark.parametrize("optimizer", ["muon", "adam"])
def test_the_loss_decreases(pictures: Path, optimizer: str) -> None:
    config = replace(TINY_CONFIG, optimizer=optimizer, batch=2, steps=24, rate=3e-3, last=0.0)
    trainer = Trainer(config, "cpu", "float32")
    source = PatchSource([pictures], config.data(), pictures.parent / "cache")
    losses = [float(trainer.train_step(source)) for _ in range(24)]
    assert trainer.step == 24
    assert np.mean(losses[-4:]) < 0.8 * np.mean(losses[:4])


def test_the_moving_average_follows_the_weights() -> None:
    """After one step from equal weights, with a decay of (1 + 1) / (10 + 1)."""
    trainer = Trainer(replace(TINY_CONFIG, optimizer="adam"), "cpu", "float32")
    before = {name: p.detach().clone() for name, p in trainer.named.items()}
    for parameter in trainer.named.values():
        parameter.grad = torch.ones_like(parameter)
    trainer._schedule()
    trainer._update()
    for name, mean in trainer.average.named_parameters():
        moved = trainer.named[name].detach()
        assert not torch.equal(moved, before[name])
        assert torch.allclose(mean, before[name] + (1 - 2 / 11) * (moved - before[name]), atol=1e-7), name


def test_gradients_are_clipped_as_one_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(replace(TINY_CONFIG, optimizer="adam", clip=0.5), "cpu", "float32")
    seen: list[Tensor] = []
    monkeypatch.setattr(
        trainer.optimizers[0], "step", lambda: seen.extend(p.grad for p in trainer.named.values() if p.grad is not None)
    )
    for parameter in trainer.named.values():
        parameter.grad = torch.ones_like(parameter)
    trainer._update()
    assert torch.cat([g.reshape(-1) for g in seen]).norm().item() == pytest.approx(0.5, rel=1e-4)


def test_micro_batches_do_not_change_the_gradients(pictures: Path) -> None:
    """Gradients add up to those of the batch, whatever it is cut into, an uneven rest included."""
    losses, gradients = [], []
    for micro_batch in (1, 3, 4):
        trainer = Trainer(TINY_CONFIG, "cpu", "float32", micro_batch=micro_batch)
        trainer._update = lambda: None  # type: ignore[method-assign]
        source = PatchSource([pictures], TINY_CONFIG.data(), pictures.parent / "cache")
        losses.append(float(trainer.train_step(source)))
        gradients.append([p.grad for p in trainer.named.values() if p.grad is not None])
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)
    for one, three, four in zip(*gradients, strict=True):
        assert torch.allclose(one, four, rtol=1e-3, atol=1e-6)
        assert torch.allclose(three, four, rtol=1e-3, atol=1e-6)


def test_fused_bfloat16_has_the_same_gradients_as_plain_bfloat16(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = PatchSource([pictures], TINY_CONFIG.data(), pictures.parent / "cache")
    gradients = []
    for kind in ("fused", "plain"):
        if kind == "plain":
            monkeypatch.setattr("model.training.networks.TrainedConv", EagerConv)
        trainer = Trainer(TINY_CONFIG, "cpu", "bfloat16")
        trainer._update = lambda: None  # type: ignore[method-assign]
        trainer.train_step(source)
        gradients.append(torch.cat([p.grad.flatten() for p in trainer.named.values() if p.grad is not None]))
    fused, plain = gradients
    assert (fused - plain).norm() < 0.02 * plain.norm()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_parameters_cancelled_by_the_flat_response_have_no_gradient(pictures: Path, dtype: str) -> None:
    """In exact arithmetic it would be zero; its rounding noise must not move anything."""
    trainer = Trainer(TINY_CONFIG, "cpu", dtype)
    before = {name: p.detach().clone() for name, p in trainer.named.items()}
    trainer.train_step(PatchSource([pictures], TINY_CONFIG.data(), pictures.parent / "cache"))
    still = {name for name, p in trainer.named.items() if torch.equal(p, before[name])}
    assert still == {"levels.0.residual.bias", "levels.1.residual.bias", "levels.1.up.bias"}


def test_centring_does_not_change_other_gradients() -> None:
    network = random_network(LapSRNConfig(scale=4, depth=2, width=4)).double()
    margin = network.config.margin
    padded = luma(2, 1, 4 + 2 * margin, 3 + 2 * margin, dtype=torch.float64)

    def loss(outputs: list[Tensor]) -> Tensor:
        return torch.stack([((level - 0.5) ** 2).sum() for level in outputs]).sum()

    loss(network(padded)).backward()  # type: ignore[no-untyped-call]
    expected = {name: p.grad for name, p in network.named_parameters()}
    network.zero_grad()
    folded, leaves = detached(network.fold(), fused=False)
    loss(folded(padded)).backward()  # type: ignore[no-untyped-call]
    torch.autograd.backward(list(leaves), [leaf.grad for leaf in leaves.values()])
    for name, parameter in network.named_parameters():
        wanted = expected[name]
        assert wanted is not None
        if parameter.grad is None:
            assert wanted.abs().max() < 1e-9, name
        else:
            assert torch.allclose(parameter.grad, wanted, rtol=1e-9, atol=1e-9), name
