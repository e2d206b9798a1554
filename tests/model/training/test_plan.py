"""The plan: it runs its stages, each of which begins with earlier weights, and can be resumed."""

from pathlib import Path

import pytest

from model.checkpoint import load_tensors, load_weights
from model.train import parse
from model.training import plan
from model.training.recipe import PRESETS

SMALL = ["--width", "4", "--core", "8", "--batch", "2", "--micro-batch", "2", "--variants", "1", "--device", "cpu"]


def test_stages_are_presets_in_a_valid_order() -> None:
    names = [stage.preset for stage in plan.STAGES]
    assert set(names) <= PRESETS.keys()
    for index, stage in enumerate(plan.STAGES):
        for source in (stage.start_from, stage.anchor):
            assert source is None or source in names[:index] or (plan.WEIGHTS / f"{source}.safetensors").is_file()


@pytest.mark.parametrize("name", [stage.preset for stage in plan.STAGES])
def test_the_recipe_of_a_stage_equals_its_preset(name: str) -> None:
    config, options = parse(["--data", "x", "--preset", name])
    assert config == PRESETS[name]
    assert not options.allow_changes


@pytest.mark.slow
@pytest.mark.server
def test_a_plan_runs_and_resumes(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps of each stage that begins with nothing or with an earlier one, in small."""
    folder = pictures.parent / "runs"
    arguments = ["--data", str(pictures), "--output", str(folder), "--only", "deep", "deep_x8"]
    plan.main([*arguments, *SMALL, "--steps", "2"])
    deep, info = load_weights(folder / "deep" / "weights.safetensors")
    assert (deep.config.depths, deep.config.skips, info.recipe["steps"]) == ((17, 3), True, 2)
    larger, about = load_weights(folder / "deep_x8" / "weights.safetensors")
    assert about.recipe["start_from"] == info.sha256
    assert larger.config.depths == (17, 3, 3)
    before = (folder / "deep" / "weights.safetensors").read_bytes()
    (folder / "deep_x8" / "state.safetensors").unlink()
    plan.main([*arguments, *SMALL, "--steps", "2"])
    assert (folder / "deep" / "weights.safetensors").read_bytes() == before
    assert load_tensors(folder / "deep_x8" / "state.safetensors")[1]["step"] == 2


@pytest.mark.slow
@pytest.mark.server
def test_a_plan_can_be_measured(pictures: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = pictures.parent / "runs"
    plan.main(["--data", str(pictures), "--output", str(folder), "--only", "deep", "--measure", "4", *SMALL])
    printed = capfd.readouterr().out
    assert "deep: 48900 steps" in printed
    assert "deep: all steps would take " in printed
    assert [path.name for path in folder.iterdir()] == ["cache"]


def test_the_time_of_all_steps_is_estimated_from_the_last_half(tmp_path: Path) -> None:
    """The first steps choose kernels, and do not count."""
    lines = [f'{{"step": {step}, "seconds": {seconds}}}' for step, seconds in enumerate([60, 62, 63, 64], start=1)]
    (tmp_path / "log.jsonl").write_text("".join(f"{line}\n" for line in lines))
    assert plan.minutes(tmp_path, 600) == pytest.approx(10)


def test_a_failed_stage_ends_the_plan(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"the stage deep ended with 1; fix that"):
        plan.main(["--data", str(tmp_path / "gone"), "--output", str(tmp_path), "--device", "cpu"])
