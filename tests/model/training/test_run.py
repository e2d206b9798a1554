"""A run refuses to go on with what it did not begin with, stops where it diverges, and keeps its best weights."""

import errno
import hashlib
import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from model.checkpoint import load_tensors, load_weights, save_weights
from model.train import main
from model.training.patches import PatchSource
from model.training.run import alone, join
from model.training.trainer import Trainer
from tests.model.networks import save_pictures, texture
from tests.model.test_train import command, equal, records


def refused(arguments: list[str]) -> str:
    """The line that a run ends with."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    line = str(end.value.code)
    assert line.startswith("python -m model.train: ")
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("changes", "shown", "possible"),
    [
        (["--rate", "1e-3"], "rate 0.002, not 0.001", True),
        (["--focus", "0", "--no-flips"], "flips True, not False, focus 0.5, not 0.0", True),
        (["--depth", "2"], "depth 1, not 2", False),
        (["--optimizer", "adam"], "optimizer muon, not adam", False),
        (["--scale", "2", "--level-weights", "1"], "scale 4, not 2, level_weights 0.25 1.0, not 1.0", False),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_resuming_with_other_settings_is_refused_unless_allowed(
    pictures: Path, changes: list[str], shown: str, possible: bool
) -> None:
    main(command(pictures, "run", "--steps", 2))
    folder = pictures.parent / "run"
    before = (folder / "state.safetensors").read_bytes()
    more = command(pictures, "run", "--steps", 2, *changes)
    assert f"was made with {shown};" in refused(more)
    if not possible:
        assert f"its {changes[0].removeprefix('--')} cannot change" in refused([*more, "--allow-changes"])
    assert (folder / "state.safetensors").read_bytes() == before
    if possible:
        main([*more, "--allow-changes", "--steps", "3"])
        (told,) = load_weights(folder / "weights.safetensors")[1].recipe["changes"]
        assert told["step"] == 2
        assert told["steps"] == [2, 3]
        assert set(told) > {changes[0].removeprefix("--")}


def test_resuming_with_other_pictures_is_refused_unless_allowed(pictures: Path) -> None:
    main(command(pictures, "run", "--steps", 1, "--hold-out", 0))
    Image.fromarray(texture(64, 64, 9)).save(pictures / "more.png")
    more = command(pictures, "run", "--steps", 1, "--hold-out", 0)
    assert "learnt from 4 other pictures" in refused(more)
    main([*more, "--allow-changes"])
    main([*more, "--allow-changes", "--steps", "2"])
    recipe, learnt_from = (
        getattr(load_weights(pictures.parent / "run" / "weights.safetensors")[1], name)
        for name in ("recipe", "pictures")
    )
    assert [change["step"] for change in recipe["changes"]] == [1, 1]
    assert (learnt_from["count"], learnt_from["folders"]) == (5, [str(pictures)])


def test_a_run_can_be_resumed_after_moving_the_pictures(pictures: Path) -> None:
    main(command(pictures, "run", "--steps", 1))
    moved = pictures.with_name("moved")
    shutil.move(pictures, moved)
    main(command(moved, "run", "--steps", 1))


def test_a_run_that_started_from_other_weights_is_not_resumed(pictures: Path) -> None:
    for name, seed in (("first", 0), ("other", 1)):
        main(command(pictures, name, "--steps", 1, "--seed", seed))
    first, other = (pictures.parent / name / "weights.safetensors" for name in ("first", "other"))
    main(command(pictures, "second", "--steps", 1, "--start-from", first))
    main(command(pictures, "second", "--steps", 1, "--start-from", first))
    assert "leave out --start-from" in refused(command(pictures, "second", "--steps", 1, "--start-from", other))
    assert "leave out --start-from" in refused(command(pictures, "first", "--steps", 1, "--start-from", other))


def test_a_run_keeps_out_what_its_start_weights_held_out(pictures: Path) -> None:
    """Also where the new run would hold out others."""
    main(command(pictures, "first", "--steps", 1))
    first = pictures.parent / "first" / "weights.safetensors"
    kept = load_weights(first)[1].pictures["held_out"]
    assert kept
    main(command(pictures, "second", "--steps", 1, "--start-from", first, "--hold-out", 0))
    again = load_weights(pictures.parent / "second" / "weights.safetensors")[1].pictures
    assert again["held_out"] == kept
    assert again["count"] == 4 - len(kept)


def diverging(monkeypatch: pytest.MonkeyPatch, poison: float) -> None:
    """From step 4 on, the loss is `poison` times what it was."""
    step = Trainer.train_step

    def poisoned(self: Trainer, source: PatchSource) -> Tensor:
        return step(self, source) * (poison if self.step > 3 else 1)

    monkeypatch.setattr(Trainer, "train_step", poisoned)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 1e3])
def test_a_diverging_run_stops_and_keeps_its_last_good_state(
    pictures: Path, poison: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    diverging(monkeypatch, poison)
    run = command(pictures, "run", "--steps", 8, "--log-every", 1, "--save-every", 2)
    line = refused(run)
    assert "diverged before step 4" in line
    assert "the state of step 2 is kept" in line
    folder = pictures.parent / "run"
    tensors, metadata = load_tensors(folder / "state.safetensors")
    assert metadata["step"] == 2
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert load_weights(folder / "weights.safetensors")
    text = (folder / "log.jsonl").read_text()
    assert [json.loads(line)["step"] for line in text.splitlines()] == [1, 2, 3]
    assert "Infinity" not in text and "NaN" not in text


def test_a_batch_with_next_to_no_loss_is_not_what_later_ones_are_measured_by(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one of flat patches only."""
    step = Trainer.train_step

    def easy(self: Trainer, source: PatchSource) -> Tensor:
        return step(self, source) * (1e-3 if self.step == 3 else 1)

    monkeypatch.setattr(Trainer, "train_step", easy)
    main(command(pictures, "run", "--steps", 8, "--log-every", 1))
    losses = [record["loss"] for record in records(pictures.parent / "run")]
    assert losses[2] * 100 < losses[3]


def test_all_processes_of_a_run_report_the_same_state(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first process saves; the others must not say that nothing was saved."""
    made = Trainer.__init__

    def second(self: Trainer, *arguments: Any, **more: Any) -> None:
        made(self, *arguments, **more)
        self.rank = 1

    diverging(monkeypatch, 1e3)
    monkeypatch.setattr(Trainer, "__init__", second)
    monkeypatch.setattr("model.training.run.dist.barrier", lambda: None)
    line = refused(command(pictures, "run", "--steps", 8, "--log-every", 1, "--save-every", 2))
    assert "the state of step 2 is kept" in line


@pytest.mark.parametrize(("device", "backend"), [("cpu", "gloo"), ("cuda", "nccl")])
def test_processes_wait_for_the_first_one_for_days(monkeypatch: pytest.MonkeyPatch, device: str, backend: str) -> None:
    """By default, ten or thirty minutes end a run whose first process still prepares the pictures."""
    joined = {}
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr("torch.cuda.set_device", lambda _: None)
    monkeypatch.setattr("torch.distributed.init_process_group", lambda name, timeout: joined.update({name: timeout}))
    join(device)
    assert list(joined) == [backend]
    assert joined[backend] >= timedelta(days=1)


def test_a_learning_rate_of_ten_is_reported_as_divergence(pictures: Path) -> None:
    """Steps that large really end in values that are not finite."""
    line = refused(command(pictures, "run", "--steps", 60, "--rate", 10, "--log-every", 1, "--save-every", 60))
    assert "nothing was saved yet" in line
    assert not (pictures.parent / "run" / "weights.safetensors").exists()


def test_the_best_weights_are_kept_besides_the_last(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores of 20, 22 and 21 dB; also over a stop."""
    scores = iter([20.0, 22.0, 21.0])

    def scored(*_: Any) -> dict[str, Any]:
        return {"psnr": {2: 30.0, 4: next(scores)}}

    monkeypatch.setattr("model.training.validation.Validation.scores", scored)
    seen = {}
    for steps in (1, 2, 3):
        more = ["--allow-changes"] if steps > 1 else []
        main(command(pictures, "run", "--steps", steps, *more))
        seen[steps] = load_weights(pictures.parent / "run" / "weights.safetensors")[0].state_dict()
    best, info = load_weights(pictures.parent / "run" / "best.safetensors")
    assert equal(best.state_dict(), seen[2])
    assert not equal(best.state_dict(), seen[3])
    assert info.recipe["steps"] == 2
    assert load_tensors(pictures.parent / "run" / "state.safetensors")[1]["best"] == {"step": 2, "psnr": 22.0}


def test_a_run_whose_last_weights_were_not_written_writes_them_when_it_goes_on(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full between the two files that the last step writes; the state must not say that it is done."""
    save = save_weights

    def full(path: Path, *arguments: Any, **about: Any) -> None:
        if path.name == "weights.safetensors" and path.exists():
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        save(path, *arguments, **about)

    monkeypatch.setattr("model.training.run.save_weights", full)
    assert "weights.safetensors: No space left" in refused(command(pictures, "run", "--steps", 4, "--save-every", 2))
    monkeypatch.undo()
    main(command(pictures, "run", "--steps", 4, "--save-every", 2))
    main(command(pictures, "whole", "--steps", 4))
    run, whole = (load_weights(pictures.parent / name / "weights.safetensors")[0] for name in ("run", "whole"))
    assert equal(run.state_dict(), whole.state_dict())


def test_validation_and_logging_intervals_are_independent(pictures: Path) -> None:
    main(command(pictures, "run", "--steps", 7, "--log-every", 3, "--validate-every", 2, "--save-every", 5))
    found = {record["step"]: "psnr" in record for record in records(pictures.parent / "run")}
    assert found == {2: True, 3: False, 4: True, 5: False, 6: True, 7: True}


def test_the_log_contains_the_rate_and_the_remaining_time(pictures: Path) -> None:
    main(command(pictures, "run", "--steps", 4, "--log-every", 2))
    lines = [json.loads(line) for line in (pictures.parent / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["seconds_left"] > 0 for line in lines] == [True, False]
    for line in lines:
        assert line["pixels_per_second"] == pytest.approx(line["step"] * 4 * 16**2 / line["seconds"])


def test_validation_can_use_a_folder(pictures: Path) -> None:
    """Of high-resolution pictures, or of a benchmark with its own low resolution."""
    other = pictures.parent / "other"
    save_pictures(other / "plain", [(64, 80)])
    (truth,) = save_pictures(other / "bench" / "HR", [(64, 80)])
    (other / "bench" / "LRx4").mkdir()
    Image.fromarray(np.zeros((16, 20), np.uint8)).save(other / "bench" / "LRx4" / "ax4.png")
    scores = {}
    for name in ("plain", "bench"):
        main(command(pictures, name, "--steps", 1, "--hold-out", 0, "--validate-on", other / name))
        scores[name] = records(pictures.parent / name)[-1]["psnr"]["4"]
    main(command(pictures, "none", "--steps", 1, "--hold-out", 0))
    assert "psnr" not in records(pictures.parent / "none")[-1]
    black = np.zeros_like(truth, float)[4:-4, 4:-4]
    in_luma = (truth[4:-4, 4:-4] - black) * 219 / 255
    assert scores["bench"] == pytest.approx(10 * np.log10(255**2 / (in_luma**2).mean()), abs=0.1)
    assert scores["plain"] > scores["bench"] + 5


def test_bad_pictures_are_named_or_skipped(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pictures / "bad.png").write_bytes(b"no picture")
    run = command(pictures, "run", "--steps", 1, "--hold-out", 0)
    assert "bad.png: not a readable picture" in refused(run)
    main([*run, "--skip-bad"])
    assert "left out: " in (printed := capsys.readouterr().out)
    assert "bad.png" in printed
    assert load_weights(pictures.parent / "run" / "weights.safetensors")[1].pictures["skipped"] == 1


def test_recipe_from_reuses_the_recipe_of_weights(pictures: Path) -> None:
    main(command(pictures, "first", "--steps", 2, "--rate", "1e-3", "--kernels", "box", "bicubic"))
    first = pictures.parent / "first" / "weights.safetensors"
    where = ["--data", pictures, "--cache", pictures.parent / "cache", "--output", pictures.parent / "again"]
    main([str(a) for a in [*where, "--recipe-from", first, "--device", "cpu", "--dtype", "float32", "--seed", 1]])
    recipes = [load_weights(path)[1].recipe for path in (first, pictures.parent / "again" / "weights.safetensors")]
    assert recipes[1] == recipes[0] | {"seed": 1}


def test_strengths_train_the_far_end_of_a_clean_up_line(pictures: Path) -> None:
    """Steps go through means of it and the near end, which stays what it was; over a stop too."""
    main(command(pictures, "near", "--steps", 2))
    near = pictures.parent / "near" / "weights.safetensors"
    damage = ["--min-quality", 30, "--max-quality", 90, "--strengths", 0.5, 1, "--start-from", near]
    options = ["--steps", 4, "--validate-every", 2, "--save-every", 2, *damage]
    main(command(pictures, "whole", *options))
    main(command(pictures, "far", *options, "--steps", 2))
    main(command(pictures, "far", *options, "--allow-changes", "--hold", 0.3))
    folder = pictures.parent / "whole"
    tensors, _ = load_tensors(folder / "state.safetensors")
    start = load_weights(near)[0].state_dict()
    anchor = {name.removeprefix("anchor/"): t for name, t in tensors.items() if name.startswith("anchor/")}
    assert equal(anchor, {name: tensor for name, tensor in start.items() if name in anchor})
    network, info = load_weights(folder / "weights.safetensors")
    assert info.recipe["anchor"] == info.recipe["start_from"] == load_weights(near)[1].sha256
    assert not equal(network.state_dict(), start)
    last = records(folder)[-1]
    assert set(last) == {"step", "loss", "rate", "psnr", "psnr at 0.5", "psnr at 1"}
    assert last["psnr"]["4"] == pytest.approx((last["psnr at 0.5"]["4"] + last["psnr at 1"]["4"]) / 2)
    again, _ = load_tensors(pictures.parent / "far" / "state.safetensors")
    assert equal(
        {k: v for k, v in again.items() if k.startswith("anchor/")}, {f"anchor/{k}": v for k, v in anchor.items()}
    )


def test_strengths_require_start_from(pictures: Path) -> None:
    assert "give them with --start-from" in refused(command(pictures, "run", "--strengths", 0.5, 1))


def test_pictures_are_shown_in_tensorboard(pictures: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    main(command(pictures, "run", "--steps", 2, "--validate-every", 2))
    events = EventAccumulator(str(pictures.parent / "run"))
    events.Reload()
    held_out = len(load_weights(pictures.parent / "run" / "weights.safetensors")[1].pictures["held_out"])
    assert sorted(events.Tags()["images"]) == [f"validation/{index}" for index in range(min(held_out, 4))]
    image = events.Images("validation/0")[0]
    assert image.step == 2
    assert image.width == 3 * image.height or image.width % 3 == 0
    assert {"loss", "rate", "pixels_per_second", "psnr/x4"} <= set(events.Tags()["scalars"])


def test_gradients_at_a_strength_move_the_end_in_proportion(pictures: Path) -> None:
    from dataclasses import replace

    from tests.model.networks import TINY_CONFIG

    config = replace(TINY_CONFIG, strengths=(0.25,))
    trainer = Trainer(config, "cpu", "float32")
    assert trainer.anchor is not None
    with torch.no_grad():
        for parameter in trainer.anchor.parameters():
            parameter.mul_(0.5)
    source = PatchSource([pictures], config.data(), pictures.parent / "cache")
    trainer._update = lambda: None  # type: ignore[method-assign]
    loss = trainer.train_step(source)
    middle = Trainer(TINY_CONFIG, "cpu", "float32")
    with torch.no_grad():
        ends = zip(middle.network.parameters(), trainer.anchor.parameters(), trainer.network.parameters(), strict=True)
        for parameter, near, far in ends:
            parameter.copy_(0.75 * near + 0.25 * far)
    middle._update = lambda: None  # type: ignore[method-assign]
    assert float(middle.train_step(source)) == pytest.approx(float(loss), rel=1e-4)
    for name, parameter in trainer.named.items():
        if parameter.grad is not None:
            whole = middle.named[name].grad
            assert whole is not None
            assert torch.allclose(parameter.grad, 0.25 * whole, rtol=1e-3, atol=1e-6), name


def test_device_auto_chooses_an_available_device(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    main([*command(pictures, "run", "--steps", 1), "--device", "auto"])
    assert (pictures.parent / "run" / "weights.safetensors").exists()


def test_one_process_trains_on_one_device(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(SystemExit) as end:
        main(["--data", "x", "--device", "cuda:0,cuda:1"])
    assert end.value.code == 2
    assert "a process trains on one device, not on cuda:0, cuda:1; use torchrun" in capsys.readouterr().err


def test_two_runs_cannot_share_a_folder(pictures: Path) -> None:
    folder = pictures.parent / "run"
    folder.mkdir()
    with alone(folder):
        assert f"another run is writing to {folder}; wait for it, or give another" in refused(command(pictures, "run"))
    assert not (folder / "log.jsonl").exists()
    main(command(pictures, "run", "--steps", 1))


def test_an_incomplete_log_record_is_terminated_before_the_next(pictures: Path) -> None:
    """A run that was killed while it wrote its log, or had no space for it."""
    log = pictures.parent / "run" / "log.jsonl"
    main(command(pictures, "run", "--steps", 1))
    log.write_bytes(log.read_bytes() + b'{"step": 2, "lo')
    main(command(pictures, "run", "--steps", 2, "--allow-changes"))
    assert [record["step"] for record in records(log.parent)] == [1, 2]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--validate-on", "gone"], "there is no folder gone"),
        (["--validate-on", "bad"], "bad/a.png: not a readable picture"),
        (["--validate-on", "bench"], "bench/LRx4 has no low resolution of a.png"),
        ([], "pictures/held_out.png: not a readable picture"),
    ],
)
def test_an_invalid_validation_folder_ends_a_run_before_its_first_step(
    pictures: Path, options: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "train_step", lambda *_: pytest.fail("a step"))
    monkeypatch.chdir(pictures.parent)
    Path("bad").mkdir()
    Path("bad/a.png").write_text("no picture")
    save_pictures(Path("bench/HR"), [(64, 64)])
    Path("bench/LRx4").mkdir()
    if not options:
        texts = (str(number) for number in range(100))
        held_out = next(text for text in texts if hashlib.sha256(text.encode()).hexdigest() < "5")  # of three, one
        (pictures / "held_out.png").write_text(held_out)
    assert said in refused(command(pictures, "run", "--steps", 1, *options))
