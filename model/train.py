"""Training: `python -m model.train --preset served --data DIR`; resumes where it was stopped."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import torch

from model.checkpoint import load_weights
from model.devices import devices, training_dtype
from model.entry import Parser, at_least, file_errors
from model.files import printable
from model.training.recipe import PRESETS, TrainConfig
from model.training.run import RunOptions, run

DEFAULT = "served"


def parser() -> argparse.ArgumentParser:
    """The command line: where things are, how it runs, and every field of a recipe."""
    made = Parser("model.train", __doc__)
    add = made.add_argument
    add("--preset", choices=sorted(PRESETS), help=f"recipe to begin with (default: {DEFAULT})")
    add("--recipe-from", type=Path, metavar="WEIGHTS", help="take the recipe of a weights file instead of a preset's")
    add("--data", type=Path, nargs="+", required=True, help="folders of high-resolution pictures")
    add("--output", type=Path, default=Path("runs/served"), help="folder of the run (default: %(default)s)")
    add("--cache", type=Path, default=Path("runs/cache"), help="folder of prepared pyramids (default: %(default)s)")
    add("--start-from", type=Path, metavar="WEIGHTS", help="weights to begin a new run with")
    add("--anchor", type=Path, metavar="WEIGHTS", help="near end for --strengths (default: that of --start-from)")
    add("--validate-on", type=Path, metavar="FOLDER", help="pictures to validate on instead of those held out")
    add("--skip-bad", action="store_true", help="leave out pictures that cannot be read, and name them")
    add("--allow-changes", action="store_true", help="go on with other settings or pictures than the run began with")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu, cuda, cuda:N (%(default)s here)")
    add("--dtype", choices=["auto", "float32", "bfloat16"], default="auto", help="of the features (default: auto)")
    add(
        "--micro-batch",
        type=at_least(0),
        default=0,
        metavar="PATCHES",
        help="at once; 0 (default): what suits the device",
    )
    add(
        "--compile",
        action=argparse.BooleanOptionalAction,
        default=torch.cuda.is_available(),
        help="merge what surrounds the convolutions with torch.compile (default: with CUDA)",
    )
    for name, default in (("log", 100), ("validate", 1000), ("save", 500)):
        words = f"steps after which to {name} (default: %(default)s)"
        add(f"--{name}-every", type=at_least(1), default=default, metavar="STEPS", help=words)
    recipe = made.add_argument_group("recipe", f"overrides the preset; defaults are those of {DEFAULT}")
    kinds = get_type_hints(TrainConfig)
    for item in fields(TrainConfig):
        flag = "--" + item.name.replace("_", "-")
        shown = _default(getattr(PRESETS[DEFAULT], item.name))
        words = f"{item.metadata['help']} (default: {shown})".replace("%", "%%")
        if kinds[item.name] is bool:
            recipe.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=words)
            continue
        elements = get_args(kinds[item.name])  # of tuple[int, ...]; a plain int has none
        kind = elements[0] if elements else kinds[item.name]
        count = "*" if elements else None
        recipe.add_argument(flag, type=kind, nargs=count, default=None, metavar=kind.__name__.upper(), help=words)
    return made


def _default(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)


def parse(arguments: Sequence[str] | None) -> tuple[TrainConfig, RunOptions]:
    """Command line to recipe and options: every field of the preset can be overridden. Raises WeightsError."""
    made = parser()
    parsed = made.parse_args(arguments)
    if parsed.preset and parsed.recipe_from:
        made.error("--preset and --recipe-from are two recipes; give one of them")
    given = {item.name: getattr(parsed, item.name) for item in fields(TrainConfig)}
    overrides: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items() if value is not None
    }
    try:
        found = devices(parsed.device)
        if len(found) > 1:
            made.error(f"a process trains on one device, not on {', '.join(found)}; use torchrun for several")
        base = _recipe_of(parsed) if parsed.recipe_from else PRESETS[parsed.preset or DEFAULT]
        config = replace(base, **overrides)
    except ValueError as error:
        made.error(str(error))
    (device,) = found
    dtype = training_dtype(device) if parsed.dtype == "auto" else parsed.dtype
    options = {item.name: getattr(parsed, item.name) for item in fields(RunOptions)}
    return config, RunOptions(**options | {"device": device, "dtype": dtype})


def _recipe_of(parsed: argparse.Namespace) -> TrainConfig:
    """The recipe of the weights file `recipe_from`; notes on standard error which weights it needs beside it.

    Raises WeightsError, and ValueError if the file has no recipe.
    """
    recipe = load_weights(parsed.recipe_from)[1].recipe
    config = TrainConfig.from_recipe(recipe)
    for name in ("start_from", "anchor"):
        if name in recipe and getattr(parsed, name) is None:
            flag, whose = f"--{name.replace('_', '-')}", printable(str(parsed.recipe_from))
            print(f"note: the run of {whose} had {flag}, SHA-256 {recipe[name]}; give it, too", file=sys.stderr)
    return config


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `python -m model.train` and `lapsrn train`."""
    with file_errors("python -m model.train"):
        run(*parse(arguments))


if __name__ == "__main__":
    main()
