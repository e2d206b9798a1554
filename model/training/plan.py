"""The deep networks, one after the other: `python -m model.training.plan --data DIR --output runs`.

Each stage is a run of model.train in a folder of its own, so a plan that is stopped goes on where it was.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model.entry import Parser, UsageError, file_errors
from model.training.recipe import PRESETS
from model.training.runlog import lines

WEIGHTS = Path(__file__).parents[2] / "weights"


@dataclass(frozen=True, slots=True)
class Stage:
    """A run: its preset, and the weights that it starts from and is anchored to, files or earlier stages."""

    preset: str
    start_from: str | None = None
    anchor: str | None = None


STAGES = (
    Stage("deep"),
    Stage("deep_clean", start_from="deep", anchor="deep"),
    Stage("deep_x8", start_from="deep"),
)


def command(stage: Stage, options: argparse.Namespace, folder: Path, more: Sequence[str]) -> list[str]:
    """Arguments of model.train for a stage in `folder`; `more` comes last and so overrides what comes before."""
    found = ["--preset", stage.preset, "--data", *map(str, options.data), "--output", str(folder / stage.preset)]
    found += ["--cache", str(options.output / "cache")]
    for flag, name in (("--start-from", stage.start_from), ("--anchor", stage.anchor)):
        if name is not None:
            earlier = name in (each.preset for each in STAGES)
            found += [flag, str(folder / name / "weights.safetensors" if earlier else WEIGHTS / f"{name}.safetensors")]
    return [*found, *more]


def minutes(folder: Path, steps: int) -> float:
    """What all `steps` of a run take, by the last half of what its log says."""
    records = [json.loads(line) for line in lines(folder / "log.jsonl")]
    first, last = records[len(records) // 2 - 1], records[-1]
    return float((last["seconds"] - first["seconds"]) / (last["step"] - first["step"]) * steps / 60)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `python -m model.training.plan`; options that it does not know go to every run."""
    parser = Parser("model.training.plan", __doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of high-resolution pictures")
    parser.add_argument("--output", type=Path, default=Path("runs"), help="folder of the runs (default: %(default)s)")
    names = [stage.preset for stage in STAGES]
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="stages to run, in the plan's order")
    parser.add_argument(
        "--measure",
        type=int,
        metavar="STEPS",
        help="train only this many steps of each, and print how long all would take",
    )
    options, more = parser.parse_known_args(arguments)
    with file_errors(parser.prog):
        if options.measure is not None and options.measure < 4:
            raise UsageError(f"--measure {options.measure} is too short; give at least 4 steps")
        with tempfile.TemporaryDirectory() as tried:
            for stage in STAGES:
                if stage.preset in options.only:
                    train(stage, options, Path(tried) if options.measure else options.output, more)


def train(stage: Stage, options: argparse.Namespace, folder: Path, more: Sequence[str]) -> None:
    """Runs a stage to its end or, to measure it, for a few steps."""
    steps = PRESETS[stage.preset].steps
    if options.measure:
        short = ["--steps", str(options.measure), "--log-every", "1", "--validate-every", str(10**9)]
        more = [*more, *short, "--hold-out", "0"]
    print(f"{stage.preset}: {steps} steps", flush=True)
    run = subprocess.run([sys.executable, "-m", "model.train", *command(stage, options, folder, more)], check=False)
    if run.returncode:
        raise UsageError(
            f"the stage {stage.preset} ended with {run.returncode}; fix that, and run the same command again"
        )
    if options.measure:
        print(f"{stage.preset}: all steps would take {minutes(folder / stage.preset, steps):.1f} minutes", flush=True)


if __name__ == "__main__":
    main()
