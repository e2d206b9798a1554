"""Training: `python -m model.train --preset served --data DIR`; resumes where it was stopped."""

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from tqdm import tqdm

from model.checkpoint import save_weights
from model.devices import best_dtype, exact_float32
from model.entry import file_errors
from model.evaluate import validate
from model.memory import keep_freed_memory
from model.training.patches import PatchSource
from model.training.recipe import PRESETS, TrainConfig
from model.training.runlog import RunLog
from model.training.trainer import Trainer


def run(config: TrainConfig, options: argparse.Namespace) -> None:
    """The loop: steps, log, validation, checkpoints, export."""
    if "RANK" in os.environ:
        cuda = options.device.startswith("cuda")
        if cuda:
            options.device = f"cuda:{os.environ['LOCAL_RANK']}"
            torch.cuda.set_device(options.device)
        dist.init_process_group("nccl" if cuda else "gloo")
    if options.device == "cpu":
        keep_freed_memory()
    torch.backends.cudnn.benchmark = True  # a run has few shapes, and time enough to try kernels
    folder: Path = options.output
    folder.mkdir(parents=True, exist_ok=True)
    exact_float32()
    trainer = Trainer(config, options.device, options.dtype, micro_batch=options.micro_batch, compiled=options.compile)
    state = folder / "state.safetensors"
    if state.exists():
        trainer.load(state)
    elif options.start_from is not None:
        trainer.start_from(options.start_from)
    elif config.frozen:
        raise SystemExit(f"{config.frozen} levels are frozen at nothing; give the weights to keep with --start-from")
    main = trainer.rank == 0
    if not main:
        dist.barrier()  # the first process builds the cache, the others find it
    source = PatchSource(options.data, config.data(), options.cache, options.device)
    if main and trainer.world > 1:
        dist.barrier()
    bar = tqdm(total=config.steps, initial=trainer.step, disable=not main, mininterval=10, unit="step")
    started = time.monotonic()
    losses: list[Tensor] = []
    with bar, RunLog(folder, main) as log:
        while trainer.step < config.steps:
            losses.append(trainer.train_step(source))
            bar.update()
            last = trainer.step == config.steps
            if main and (trainer.step % options.log_every == 0 or last):
                record: dict[str, Any] = {"step": trainer.step, "loss": float(torch.stack(losses).mean())}
                record |= {"rate": config.rate_at(trainer.step - 1), "seconds": time.monotonic() - started}
                if trainer.step % options.validate_every == 0 or last:
                    record["psnr"] = validate(trainer.average, source.validation())
                log.write(record)
                bar.set_postfix(loss=f"{record['loss']:.5f}")
                losses.clear()
            if main and (trainer.step % options.save_every == 0 or last):
                trainer.save(state)
                save_weights(folder / "weights.safetensors", trainer.average, recipe=trainer.recipe)
    if dist.is_initialized():
        dist.destroy_process_group()


def parse(arguments: Sequence[str] | None) -> tuple[TrainConfig, argparse.Namespace]:
    """Command line to recipe and options: every field of the preset can be overridden."""
    parser = argparse.ArgumentParser(prog="python -m model.train", description=__doc__)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="served")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of high-resolution pictures")
    parser.add_argument(
        "--output", type=Path, default=Path("runs/served"), help="folder of log, checkpoint and weights"
    )
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="folder of the prepared pyramids")
    parser.add_argument("--start-from", type=Path, metavar="WEIGHTS", help="weights to begin a new run with")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=["auto", "float32", "bfloat16"], default="auto", help="of the features")
    parser.add_argument(
        "--micro-batch", type=int, default=0, metavar="PATCHES", help="at once; 0 takes what suits the device"
    )
    parser.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        default=torch.cuda.is_available(),
        help="merge what surrounds the convolutions with torch.compile",
    )
    for name, default in (("log-every", 100), ("validate-every", 1000), ("save-every", 500)):
        parser.add_argument(f"--{name}", type=int, default=default, metavar="STEPS")
    recipe = parser.add_argument_group("recipe", "overrides the preset")
    for item in fields(TrainConfig):
        flag = "--" + item.name.replace("_", "-")
        kind = type(getattr(PRESETS["served"], item.name))
        if kind is bool:
            recipe.add_argument(flag, action=argparse.BooleanOptionalAction, default=None)
        elif kind is tuple:
            recipe.add_argument(flag, type=float, nargs="+", default=None)
        else:
            recipe.add_argument(flag, type=kind, default=None, metavar=kind.__name__.upper())
    options = parser.parse_args(arguments)
    if options.dtype == "auto":
        options.dtype = best_dtype(options.device)
    overrides = {f.name: getattr(options, f.name) for f in fields(TrainConfig) if getattr(options, f.name) is not None}
    if "level_weights" in overrides:
        overrides["level_weights"] = tuple(overrides["level_weights"])
    try:
        return replace(PRESETS[options.preset], **overrides), options
    except ValueError as error:
        parser.error(str(error))


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `python -m model.train` and `lapsrn train`."""
    config, options = parse(arguments)
    with file_errors("python -m model.train"):
        run(config, options)


if __name__ == "__main__":
    main()
