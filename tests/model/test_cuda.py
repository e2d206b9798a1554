"""What only an NVIDIA GPU can show: the same picture as on the CPU, alone or in a batch, and training."""

import asyncio
import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from app.build import open_model
from app.engine import Engine
from app.settings import Settings
from model.devices import best_dtype, devices, exact_float32
from model.evaluate import pad, upscale
from model.network import LapSRN, LapSRNConfig
from model.runtime import Runtime
from model.train import main
from model.training.patches import PatchSource
from model.training.recipe import TrainConfig
from model.training.trainer import Trainer
from tests.model.networks import plane, random_network, runtime_of, save_pictures

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")


@pytest.fixture(scope="module")
def network() -> LapSRN:
    exact_float32()
    return random_network(LapSRNConfig())


@pytest.fixture(scope="module")
def runtime(network: LapSRN) -> Runtime:
    return runtime_of(network, best_dtype("cuda:0"), device="cuda:0")


def tiles(count: int, side: int) -> NDArray[np.float32]:
    """Noise on a ramp, each tile another one."""
    ramp = np.linspace(0.2, 0.8, side, dtype=np.float32)
    return np.stack([0.8 * ramp + 0.2 * plane(side, side, seed) for seed in range(count)])


def test_the_gpu_is_found() -> None:
    assert devices("auto")[0] == "cuda:0"
    assert devices("cuda:0,cuda:0") == ["cuda:0", "cuda:0"]


def test_full_precision_equals_the_cpu(network: LapSRN, runtime: Runtime) -> None:
    picture = plane(70, 50)
    with torch.no_grad():
        expected = upscale(network.cpu().fold(), picture)
    found = runtime.run(pad(picture, runtime.info.window_margin)[None], 4, full_precision=True)
    for level, whole in zip(found.values(), expected, strict=True):
        np.testing.assert_allclose(level[0], whole, rtol=0, atol=2e-5)


def test_reduced_precision_is_close(runtime: Runtime) -> None:
    batch = tiles(2, 64)
    exact = runtime.run(batch, 4, full_precision=True)
    for scale, level in runtime.run(batch, 4).items():
        error = np.sqrt(np.square(level - exact[scale]).mean())
        assert 0 < error < 0.004, f"x{scale}"


@pytest.mark.parametrize("side", [50, 82, 146, 274])
def test_a_tile_does_not_depend_on_its_place_in_the_batch_or_on_other_tiles(runtime: Runtime, side: int) -> None:
    """Bit for bit, in batches of one size; with another size the kernels are others, and so the rounding."""
    batch = tiles(8, side)
    first = runtime.run(batch, 4)
    for places in ([3, 1, 7, 0, 2, 5, 6, 4], [0] * 8, [5, 5, 5, 5, 0, 0, 0, 0]):
        again = runtime.run(np.ascontiguousarray(batch[places]), 4)
        for scale, level in again.items():
            np.testing.assert_array_equal(level, first[scale][places], err_msg=f"x{scale}")


async def upscaled(pictures: list[NDArray[np.float32]], together: bool) -> list[NDArray[np.float32]]:
    """Every picture at x4 from the service's engine on the shipped weights, one by one or all at once."""
    source = open_model(Settings(devices="cuda:0,cuda:0"), None)
    async with Engine(source.factories, source.engine) as engine:
        calls = [engine.upscale([picture], scale=4, client=str(index)) for index, picture in enumerate(pictures)]
        found = await asyncio.gather(*calls) if together else [await call for call in calls]
    return [levels[4] for (levels,) in found]


def test_the_engine_gives_the_same_result_alone_and_under_load() -> None:
    pictures = [plane(40 + 30 * index, 300 - 25 * index, index) for index in range(10)]
    alone = asyncio.run(upscaled(pictures, together=False))
    for mine, its in zip(asyncio.run(upscaled(pictures, together=True)), alone, strict=True):
        np.testing.assert_array_equal(mine, its)


@pytest.mark.parametrize("value", [0.0, 16 / 255, 0.5, 1.0])
def test_flat_tiles_stay_flat(runtime: Runtime, value: float) -> None:
    for level in runtime.run(np.full((3, 60, 70), value, np.float32), 4).values():
        assert np.abs(level - np.float32(value)).max() < 1e-6


def test_two_workers_on_one_device_do_not_interfere(network: LapSRN, runtime: Runtime) -> None:
    """Each with its own stream, both concurrently and repeatedly."""
    batches = [tiles(2, 96), tiles(3, 80)[1:]]
    expected = [runtime.run(batch, 4)[4] for batch in batches]
    wrong: list[int] = []

    def work(index: int) -> None:
        mine = runtime_of(network, runtime.info.dtype, device="cuda:0")
        for _ in range(20):
            if not np.array_equal(mine.run(batches[index], 4)[4], expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_running_out_of_memory_is_reported_and_recovered_from(runtime: Runtime) -> None:
    small = tiles(1, 40)
    expected = runtime.run(small, 4)[4]
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.005)
    try:
        with pytest.raises(MemoryError, match="out of memory"):
            runtime.run(np.zeros((64, 274, 274), np.float32), 4)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    np.testing.assert_array_equal(runtime.run(small, 4)[4], expected)


def test_training_patches_equal_those_on_the_cpu(tmp_path: Path) -> None:
    save_pictures(tmp_path / "pictures", [(96, 112), (80, 96), (88, 80)])
    config = replace(TrainConfig().data(), core=16, hold_out=3)
    here, there = (
        PatchSource([tmp_path / "pictures"], config, tmp_path / "cache", device).batch(3, 8)
        for device in ("cpu", "cuda:0")
    )
    for mine, its in zip(here, there, strict=True):
        torch.testing.assert_close(its.cpu(), mine, rtol=0, atol=1e-7)


def test_training_learns_validates_and_resumes(tmp_path: Path) -> None:
    save_pictures(tmp_path / "pictures", [(96, 112), (80, 96), (64, 72), (88, 80)])
    command = f"--data {tmp_path}/pictures --cache {tmp_path}/cache --output {tmp_path}/run --no-compile --hold-out 3"
    command += " --core 16 --batch 8 --micro-batch 4 --warmup 2 --log-every 50 --validate-every 50"
    main([*command.split(), "--steps", "50"])
    main([*command.split(), "--steps", "100"])
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in log] == [50, 100]
    assert log[-1]["loss"] < 0.9 * log[0]["loss"]
    assert log[-1]["psnr"]["4"] > log[0]["psnr"]["4"]


def test_a_training_step_equals_that_on_the_cpu(tmp_path: Path) -> None:
    """Loss and gradients in float32, with the merging of torch.compile and without."""
    save_pictures(tmp_path / "pictures", [(96, 112), (80, 96)])
    config = TrainConfig(core=16, batch=4, hold_out=3)
    found = []
    for device, compiled in (("cpu", False), ("cuda:0", False), ("cuda:0", True)):
        exact_float32()
        trainer = Trainer(config, device, "float32", compiled=compiled)
        trainer.network.load_state_dict(random_network(LapSRNConfig()).state_dict())
        trainer._update = lambda: None  # type: ignore[method-assign]
        source = PatchSource([tmp_path / "pictures"], config.data(), tmp_path / "cache", device)
        loss = float(trainer.train_step(source))
        found.append((loss, {name: p.grad.cpu() for name, p in trainer.named.items() if p.grad is not None}))
    (loss, gradients), *others = found
    for its_loss, its_gradients in others:
        assert its_loss == pytest.approx(loss, rel=1e-4)
        assert its_gradients.keys() == gradients.keys()
        for name, gradient in gradients.items():
            assert torch.norm(its_gradients[name] - gradient) <= 2e-3 * torch.norm(gradient) + 1e-9, name


@pytest.mark.parametrize("compiled", [False, True])
def test_a_recorded_step_equals_the_eager_one(tmp_path: Path, compiled: bool) -> None:
    """Eight steps with a changing rate, the last five of them replayed, give the same losses, weights and averages."""
    save_pictures(tmp_path / "pictures", [(96, 112), (80, 96)])
    config = TrainConfig(core=16, batch=4, hold_out=3, steps=8, warmup=4, hold=0.5, last=0.0)
    losses, trainers = [], []
    for step in (Trainer.train_step, plain_step):
        trainer = Trainer(config, "cuda:0", "float32", compiled=compiled)
        source = PatchSource([tmp_path / "pictures"], config.data(), tmp_path / "cache", "cuda:0")
        losses.append([float(step(trainer, source)) for _ in range(8)])
        trainers.append(trainer)
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    recorded, plain = trainers
    for mine, its in ((recorded.network, plain.network), (recorded.average, plain.average)):
        moved = [torch.norm(a - b) / torch.norm(b) for a, b in zip(mine.parameters(), its.parameters(), strict=True)]
        assert max(moved) < 0.02
    assert losses[0][-1] != losses[0][-2]


def plain_step(trainer: Trainer, source: PatchSource) -> torch.Tensor:
    """A training step that is launched piece by piece."""
    trainer._schedule()
    chosen = source.choose(trainer.step, trainer.config.batch).to(trainer.device)
    loss = trainer._advance(source, chosen, trainer.config.epsilon_at(trainer.step))
    trainer.step += 1
    return loss
