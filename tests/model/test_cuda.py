"""What only an NVIDIA GPU can show: the same picture as on the CPU, alone or in a batch, and training."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.evaluate import pad, upscale
from model.network import LapSRN, LapSRNConfig
from model.patches import PatchSource
from model.recipe import TrainConfig
from model.runtime import Runtime, best_dtype, devices, exact_float32
from model.train import Trainer, main
from tests.model.networks import plane, random_network, save_pictures

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")


@pytest.fixture(scope="module")
def network() -> LapSRN:
    exact_float32()
    return random_network(LapSRNConfig())


@pytest.fixture(scope="module")
def runtime(network: LapSRN) -> Runtime:
    return Runtime(network, "random", "cuda:0", best_dtype("cuda:0"))


def tiles(count: int, side: int) -> NDArray[np.float32]:
    """Noise on a ramp, each tile another one."""
    ramp = np.linspace(0.2, 0.8, side, dtype=np.float32)
    return np.stack([0.8 * ramp + 0.2 * plane(side, side, seed) for seed in range(count)])


def test_it_is_found() -> None:
    assert devices("auto")[0] == "cuda:0"
    assert devices("cuda:0,cuda:0") == ["cuda:0", "cuda:0"]


def test_full_precision_is_that_of_the_cpu(network: LapSRN, runtime: Runtime) -> None:
    picture = plane(70, 50)
    with torch.no_grad():
        expected = upscale(network.cpu().fold(), picture)
    found = runtime.run(pad(picture, runtime.margin)[None], 4, full_precision=True)
    for level, whole in zip(found.values(), expected, strict=True):
        np.testing.assert_allclose(level[0], whole, rtol=0, atol=2e-5)


def test_reduced_precision_is_close(runtime: Runtime) -> None:
    batch = tiles(2, 64)
    exact = runtime.run(batch, 4, full_precision=True)
    for scale, level in runtime.run(batch, 4).items():
        error = np.sqrt(np.square(level - exact[scale]).mean())
        assert 0 < error < 0.004, f"x{scale}"


@pytest.mark.parametrize("side", [50, 82, 146, 274])
def test_a_tile_does_not_depend_on_its_batch(runtime: Runtime, side: int) -> None:
    """Bit for bit, in every batch size that the scheduler hands out."""
    batch = tiles(16, side)
    alone = runtime.run(batch[:1], 4)
    for count in (2, 4, 8, 16):
        together = runtime.run(batch[:count], 4)
        for scale, level in alone.items():
            np.testing.assert_array_equal(together[scale][0], level[0], err_msg=f"x{scale} in a batch of {count}")


@pytest.mark.parametrize("value", [0.0, 16 / 255, 0.5, 1.0])
def test_flat_in_is_flat_out(runtime: Runtime, value: float) -> None:
    for level in runtime.run(np.full((3, 60, 70), value, np.float32), 4).values():
        assert np.abs(level - np.float32(value)).max() < 1e-6


def test_two_workers_of_one_device_do_not_mix(network: LapSRN, runtime: Runtime) -> None:
    """Each with a stream of its own, both at once, again and again."""
    batches = [tiles(2, 96), tiles(3, 80)[1:]]
    expected = [runtime.run(batch, 4)[4] for batch in batches]
    wrong: list[int] = []

    def work(index: int) -> None:
        mine = Runtime(network, "random", "cuda:0", runtime.dtype)
        for _ in range(20):
            if not np.array_equal(mine.run(batches[index], 4)[4], expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_lack_of_memory_is_told_and_passes(runtime: Runtime) -> None:
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


def test_patches_are_those_of_the_cpu(tmp_path: Path) -> None:
    save_pictures(tmp_path / "pictures", [(96, 112), (80, 96), (88, 80)])
    config = replace(TrainConfig().data(), core=16, hold_out=3)
    here, there = (
        PatchSource([tmp_path / "pictures"], config, tmp_path / "cache", device).batch(3, 8)
        for device in ("cpu", "cuda:0")
    )
    for mine, its in zip(here, there, strict=True):
        torch.testing.assert_close(its.cpu(), mine, rtol=0, atol=1e-7)


def test_training_learns_validates_and_goes_on(tmp_path: Path) -> None:
    save_pictures(tmp_path / "pictures", [(96, 112), (80, 96), (64, 72), (88, 80)])
    command = f"--data {tmp_path}/pictures --cache {tmp_path}/cache --output {tmp_path}/run --no-compile --hold-out 3"
    command += " --core 16 --batch 8 --micro-batch 4 --warmup 2 --log-every 10 --validate-every 20"
    main([*command.split(), "--steps", "20"])
    main([*command.split(), "--steps", "40"])
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in log] == [10, 20, 30, 40]
    assert log[-1]["loss"] < 0.8 * log[0]["loss"]
    assert log[-1]["psnr"]["4"] > log[1]["psnr"]["4"]


def test_a_step_is_that_of_the_cpu(tmp_path: Path) -> None:
    """Loss and gradients in float32, with the merging of torch.compile and without."""
    save_pictures(tmp_path / "pictures", [(96, 112), (80, 96)])
    config = TrainConfig(core=16, batch=4, micro_batch=4, hold_out=3)
    found = []
    for device, compiled in (("cpu", False), ("cuda:0", False), ("cuda:0", True)):
        exact_float32()
        trainer = Trainer(config, device, "float32", compiled=compiled)
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
