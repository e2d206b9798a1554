"""Training: it learns, resumes exactly where it stopped, and is the same over several processes."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from model.checkpoint import load_tensors, load_weights
from model.folded import crop_to
from model.train import main
from model.training.patches import PatchSource
from model.training.trainer import Trainer
from tests.model.networks import TINY_CONFIG, luma

ROOT = Path(__file__).parents[2]
RECIPE = ["--depth", "1", "--core", "16", "--batch", "4", "--micro-batch", "2", "--warmup", "2", "--hold-out", "3"]
TINY = [*RECIPE, "--device", "cpu", "--dtype", "float32"]


def command(pictures: Path, output: str, *more: object) -> list[str]:
    """Arguments of a tiny run into the folder `output` beside the pictures."""
    folders = ["--data", pictures, "--cache", pictures.parent / "cache", "--output", pictures.parent / output]
    return [str(argument) for argument in [*folders, *TINY, *more]]


def records(folder: Path) -> list[dict[str, Any]]:
    """The log, without what a clock wrote."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    for line in lines:
        assert all(line.pop(name) >= 0 for name in ("seconds", "seconds_left", "pixels_per_second"))
    return lines


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(tensor, second[name]) for name, tensor in first.items())


@pytest.mark.parametrize("optimizer", ["muon", "adam"])
def test_a_resumed_run_equals_an_uninterrupted_one(
    pictures: Path, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six steps in one go, and six that are interrupted after the third: weights, optimizer and log, bit for bit."""
    options = ["--steps", 6, "--optimizer", optimizer, "--log-every", 3, "--save-every", 3, "--validate-every", 3]
    main(command(pictures, "whole", *options))
    step = Trainer.train_step

    def until_the_third(self: Trainer, source: PatchSource) -> Tensor:
        if self.step == 3:
            raise KeyboardInterrupt
        return step(self, source)

    monkeypatch.setattr(Trainer, "train_step", until_the_third)
    with pytest.raises(SystemExit, match="130"):
        main(command(pictures, "resumed", *options))
    monkeypatch.setattr(Trainer, "train_step", step)
    whole, resumed = pictures.parent / "whole", pictures.parent / "resumed"
    assert load_tensors(resumed / "state.safetensors")[1]["step"] == 3
    main(command(pictures, "resumed", *options))
    tensors, metadata = load_tensors(whole / "state.safetensors")
    again, metadata_again = load_tensors(resumed / "state.safetensors")
    assert any(name.startswith("optimizer/") for name in tensors)
    assert equal(tensors, again)
    assert metadata == metadata_again
    assert metadata["step"] == 6
    assert records(whole) == records(resumed)
    assert [record["step"] for record in records(whole)] == [3, 6]
    assert set(records(whole)[0]["psnr"]) == {"2", "4"}


def test_weights_are_exported_and_can_be_loaded(pictures: Path) -> None:
    """They are the moving average, and carry the recipe."""
    main(command(pictures, "run", "--steps", 2))
    folder = pictures.parent / "run"
    network, info = load_weights(folder / "weights.safetensors")
    tensors, _ = load_tensors(folder / "state.safetensors")
    averages = {name.removeprefix("average/"): t for name, t in tensors.items() if name.startswith("average/")}
    assert equal(dict(network.named_parameters()), averages)
    assert (info.config.depth, info.config.scale, info.config.width) == (1, 4, 64)
    assert info.recipe == json.loads(json.dumps(asdict(replace(TINY_CONFIG, steps=2))))
    with torch.no_grad():
        assert network.fold()(luma(1, 1, 12, 12))[-1].isfinite().all()


def test_a_finished_run_is_not_continued(pictures: Path) -> None:
    main(command(pictures, "run", "--steps", 1))
    before = (pictures.parent / "run" / "weights.safetensors").read_bytes()
    main(command(pictures, "run", "--steps", 1))
    assert (pictures.parent / "run" / "weights.safetensors").read_bytes() == before


def test_a_run_can_start_from_weights(pictures: Path) -> None:
    """Of the same levels, all of them; of fewer, the finest one stands for those that are missing."""
    main(command(pictures, "first", "--steps", 2))
    weights = pictures.parent / "first" / "weights.safetensors"
    network, _ = load_weights(weights)
    again = Trainer(replace(TINY_CONFIG, seed=1), "cpu", "float32")
    again.start_from(weights)
    larger = Trainer(replace(TINY_CONFIG, scale=8, level_weights=(1.0, 1.0, 1.0)), "cpu", "float32")
    larger.start_from(weights)
    for trainer, levels in ((again, (0, 1)), (larger, (0, 1, 1))):
        for started in (trainer.network, trainer.average):
            for level, origin in zip(started.levels, levels, strict=True):
                assert equal(level.state_dict(), network.levels[origin].state_dict())


def test_a_run_starts_from_weights_only_once(pictures: Path) -> None:
    main(command(pictures, "first", "--steps", 2))
    weights = pictures.parent / "first" / "weights.safetensors"
    main(command(pictures, "second", "--steps", 1, "--rate", 0, "--start-from", weights))
    started, _ = load_weights(pictures.parent / "second" / "weights.safetensors")
    network, first = load_weights(weights)
    assert equal(started.state_dict(), network.state_dict())
    main(command(pictures, "second", "--steps", 2, "--start-from", weights, "--allow-changes"))
    tensors, metadata = load_tensors(pictures.parent / "second" / "state.safetensors")
    assert metadata["step"] == 2
    resumed = load_weights(pictures.parent / "second" / "weights.safetensors")[1]
    assert resumed.recipe["start_from"] == first.sha256, "told by the weights, also after a stop"
    assert "start_from" not in first.recipe
    assert not torch.equal(tensors["network/levels.0.convs.0.weight"], started.levels[0].convs[0].weight)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 2}, "has depths 1 1, not 2 2; train with the same"),
        ({"scale": 8, "level_weights": (1.0,) * 3}, "one level"),
    ],
)
def test_weights_that_do_not_fit_are_refused(pictures: Path, changes: dict[str, Any], message: str) -> None:
    main(command(pictures, "first", "--steps", 1, "--scale", 2, "--level-weights", 1.0))
    trainer = Trainer(replace(TINY_CONFIG, **changes), "cpu", "float32")
    with pytest.raises(ValueError, match=message):
        trainer.start_from(pictures.parent / "first" / "weights.safetensors")


class BothRanks(PatchSource):
    """What two processes see, as one batch."""

    def choose(self, step: int, size: int, rank: int = 0) -> Tensor:
        return torch.cat([super(BothRanks, self).choose(step, size // 2, rank) for rank in range(2)], dim=1)


@pytest.mark.slow
@pytest.mark.server
def test_two_processes_equal_one_with_a_doubled_batch(pictures: Path) -> None:
    """torchrun on gloo, against one process that takes both processes' patches.

    Biases that the flat response cancels have gradients of rounding noise, which Adam enlarges: they are left out.
    """
    options = ["--steps", "4", "--batch", "4", "--rate", "1e-4"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    run = subprocess.run(
        [*launcher, "-m", "model.train", *command(pictures, "two", *options)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    tensors, metadata = load_tensors(pictures.parent / "two" / "state.safetensors")
    assert metadata["step"] == 4
    config = replace(TINY_CONFIG, steps=4, batch=4, rate=1e-4)
    trainer = Trainer(config, "cpu", "float32")
    start = {name: p.detach().clone() for name, p in trainer.named.items()}
    source = BothRanks([pictures], config.data(), pictures.parent / "cache")
    for _ in range(4):
        trainer.train_step(source)
    cancelled = {f"levels.{i}.{name}" for i in range(2) for name in ("residual.bias", "up.bias")}
    for name, parameter in trainer.named.items():
        if name not in cancelled:
            assert (parameter.detach() - start[name]).abs().max() > 1e-5, name
            assert torch.allclose(tensors[f"network/{name}"], parameter, rtol=0, atol=1e-5), name


def test_frozen_levels_are_kept_and_the_others_learn(pictures: Path) -> None:
    """From x4 weights to x8: what came with the weights is bit for bit what it was, in the average too."""
    main(command(pictures, "four", "--steps", "3"))
    weights = pictures.parent / "four" / "weights.safetensors"
    more = ["--scale", 8, "--level-weights", 0, 0, 1, "--frozen", 2, "--core", 8, "--start-from", weights]
    main(command(pictures, "eight", "--steps", 2, "--save-every", 1, *more))
    main(command(pictures, "eight", "--steps", 4, "--allow-changes", *more))
    before, _ = load_weights(weights)
    after, info = load_weights(pictures.parent / "eight" / "weights.safetensors")
    assert info.recipe["frozen"] == 2
    kept = before.state_dict()
    for name, tensor in after.state_dict().items():
        if name in kept:
            assert torch.equal(tensor, kept[name]), name
    start = kept["levels.1.convs.0.weight"]
    assert not torch.equal(after.state_dict()["levels.2.convs.0.weight"], start)
    picture = luma(1, 1, 40, 40)
    with torch.no_grad():
        ours, theirs = (network.fold()(picture)[1] for network in (after, before))
    torch.testing.assert_close(ours, crop_to(theirs, *ours.shape[-2:]), rtol=0, atol=1e-5)


def test_freezing_requires_start_from(pictures: Path) -> None:
    with pytest.raises(SystemExit, match="--start-from"):
        main(command(pictures, "none", "--frozen", "1"))
