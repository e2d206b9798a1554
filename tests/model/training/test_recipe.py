"""Recipes: presets, what the command line changes of them, schedules, and what cannot be trained."""

from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest

from model.checkpoint import save_weights
from model.config import LapSRNConfig
from model.train import main, parse
from model.training.damage import NO_DAMAGE, Damage
from model.training.recipe import PRESETS, TrainConfig
from tests.model.networks import random_network


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "source",
            {"batch": 64, "core": 64, "min_scale": 0.9, "max_scale": 1.0, "flips": True, "turns": False, "depth": 5},
        ),
        ("paper", {"core": 32, "min_scale": 0.5, "max_scale": 1.0, "flips": True, "turns": True, "depth": 10}),
    ],
)
def test_presets_match_their_documents(name: str, expected: dict[str, Any]) -> None:
    """In HR pixels: patches of 256 and of 128."""
    preset = asdict(PRESETS[name])
    assert {key: preset[key] for key in expected} == expected
    assert (preset["scale"], preset["max_scale"]) == (4, 1.0)


@pytest.mark.parametrize("name", ["served", "source", "paper"])
def test_a_preset_sets_every_field(name: str) -> None:
    config, _ = parse(["--data", "x", "--preset", name])
    assert config == PRESETS[name]
    assert config.data().margin == config.network().margin


@pytest.mark.parametrize(
    ("arguments", "changes"),
    [
        (["--depth", "10"], {"depth": 10}),
        (["--no-flips", "--turns"], {"flips": False, "turns": True}),
        (["--rate", "2e-4", "--final-rate", "0"], {"rate": 2e-4, "final_rate": 0.0}),
        (["--level-weights", "1", "2"], {"level_weights": (1.0, 2.0)}),
        (["--optimizer", "adam", "--min-scale", "0.7"], {"optimizer": "adam", "min_scale": 0.7}),
        (["--batch", "8", "--seed", "0", "--focus", "0"], {"batch": 8, "seed": 0, "focus": 0.0}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
@pytest.mark.parametrize("preset", ["served", "source"])
def test_options_override_the_preset(preset: str, arguments: list[str], changes: dict[str, Any]) -> None:
    config, _ = parse(["--data", "x", "--preset", preset, *arguments])
    assert config == replace(PRESETS[preset], **changes)


def test_help_lists_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    words = " ".join(printed.split())
    for field in fields(TrainConfig):
        option = "--" + field.name.replace("_", "-")
        assert option in printed
        text = field.metadata["help"]
        assert len(text.split()) > 2
        assert f"{text} (default: " in words, option
    assert "coarsest first (default: 0.25 1.0)" in words
    assert "mirror patches at random (default: yes)" in words
    for option in (
        "--preset {clean,deep,deep_clean,deep_x8,paper,served,source}",
        "--data",
        "--output",
        "--cache",
        "--device",
        "--dtype",
    ):
        assert option in printed


def test_rate_warms_up_holds_and_falls() -> None:
    config = TrainConfig(rate=1.0, final_rate=0.1, warmup=10, hold=0.5, steps=110)
    assert [config.rate_at(step) for step in (0, 4, 9, 10, 55)] == pytest.approx([0.1, 0.5, 1, 1, 1])
    assert config.rate_at(55 + 55 // 2) == pytest.approx(0.55, abs=0.02)
    assert config.rate_at(110) == pytest.approx(0.1)
    falling = [config.rate_at(step) for step in range(55, 110)]
    assert falling == sorted(falling, reverse=True)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--scale", "2"], "give as many level weights"),
        (["--optimizer", "sgd"], "use one of muon, adam"),
        (["--frozen", "2"], "at least one of 2 levels must learn"),
        (["--min-quality", "80", "--max-quality", "70"], "must be a range within 1 to 100, or both 0"),
        (["--max-quality", "90"], "must be a range within 1 to 100, or both 0"),
        (["--kernels", "sinc"], "unknown kernels sinc; use bicubic, "),
    ],
)
def test_recipes_that_cannot_be_trained_are_refused(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        parse(["--data", "x", *arguments])
    assert end.value.code == 2
    assert complaint in capsys.readouterr().err


def test_the_last_steps_have_their_own_epsilon() -> None:
    config = TrainConfig(steps=100, last=0.3, epsilon=1e-3, last_epsilon=0.05)
    assert [config.epsilon_at(step) for step in (0, 69, 70, 99)] == [1e-3, 1e-3, 0.05, 0.05]
    assert PRESETS["paper"].epsilon_at(PRESETS["paper"].steps - 1) == 1e-3


def test_damage_contains_exactly_what_the_recipe_sets() -> None:
    config = TrainConfig(
        kernels=("box", "lanczos"),
        blur=0.5,
        blur_chance=0.1,
        noise=4.0,
        noise_chance=0.2,
        min_quality=1,
        max_quality=1,
        jpeg_chance=0.3,
        jpeg_twice=0.6,
        jpeg_before=0.7,
    )
    assert config.damage() == Damage(("box", "lanczos"), 0.5, 0.1, 4.0, 0.2, (1, 1), 0.3, 0.6, 0.7)
    assert config.data().damage == config.damage()
    nothing = replace(config, kernels=("bicubic",), blur=0.0, noise=0.0, min_quality=0, max_quality=0)
    assert nothing.damage() == NO_DAMAGE


def test_a_recipe_that_began_with_other_weights_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = tmp_path / "w.safetensors"
    save_weights(weights, random_network(LapSRNConfig(depth=1, width=1)), recipe={"depth": 1, "start_from": "abc"})
    command = ["--data", "x", "--device", "cpu", "--recipe-from", str(weights)]
    parse(command)
    assert capsys.readouterr().err == f"note: the run of {weights} had --start-from, SHA-256 abc; give it, too\n"
    parse([*command, "--start-from", "other"])
    assert not capsys.readouterr().err
