"""A training run: steps, log, validation, checkpoints, and the checks that stop or refuse a bad one."""

import math
import os
import time
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from filelock import FileLock, Timeout
from torch import Tensor
from tqdm import tqdm

from model.checkpoint import load_weights, save_weights
from model.devices import devices, exact_float32
from model.entry import UsageError
from model.files import printable
from model.memory import keep_freed_memory
from model.training.patches import PatchSource
from model.training.recipe import TrainConfig, as_typed
from model.training.runlog import RunLog
from model.training.trainer import Trainer
from model.training.validation import Validation

DIVERGED = 10  # times the lowest loss before, both as means over RECENT steps
RECENT = 100  # a single batch may be flat, and its loss next to nothing
STRUCTURE = ("depth", "depths", "skips", "width", "scale", "optimizer", "frozen", "strengths")
"""Settings that a state's tensors depend on, so that no run can go on with others."""
PATIENCE = timedelta(days=7)
"""How long processes wait for the first one, which prepares pictures and validates; if it dies, torchrun ends them."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a run needs besides its recipe: files and folders, the device, and how often to log, validate and save.

    `device` is one device by its full name, `dtype` that of the features, never "auto"; `micro_batch` and `compile` are
    as in Trainer. A new run begins with the weights `start_from`; `anchor` is the near end of its strengths.
    `log_every`, `validate_every` and `save_every` are in steps.
    """

    data: Sequence[Path]
    output: Path
    cache: Path
    start_from: Path | None
    anchor: Path | None
    validate_on: Path | None
    skip_bad: bool
    allow_changes: bool
    device: str
    dtype: str
    micro_batch: int
    compile: bool
    log_every: int
    validate_every: int
    save_every: int


def run(config: TrainConfig, options: RunOptions) -> None:
    """Trains until the last step of the recipe, from the state in the run's folder if there is one.

    Raises UsageError, WeightsError, PictureError or OSError, each with one line for the user.
    """
    if "RANK" in os.environ:
        options = replace(options, device=join(options.device))
    devices(options.device)
    if options.device == "cpu":
        keep_freed_memory()
    exact_float32()
    options.output.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(config, options.device, options.dtype, micro_batch=options.micro_batch, compiled=options.compile)
    with alone(options.output) if trainer.rank == 0 else nullcontext():
        go_on(trainer, options)


def go_on(trainer: Trainer, options: RunOptions) -> None:
    """Begins, or resumes from the state in the run's folder, and trains to the end."""
    config, state = trainer.config, options.output / "state.safetensors"
    if state.exists():
        resume(trainer, state, options)
    elif options.start_from is not None:
        trainer.start_from(options.start_from, options.anchor)
    elif config.frozen or config.strengths:
        what = f"{config.frozen} levels are frozen" if config.frozen else "strengths are trained"
        raise UsageError(f"{what}, but no weights are given to begin with; give them with --start-from")
    main = trainer.rank == 0
    if not main:
        dist.barrier()  # the first process builds the cache, the others find it
    source = PatchSource(
        options.data,
        config.data(),
        options.cache,
        options.device,
        keep_out=trainer.pictures.get("held_out", ()),
        skip_bad=options.skip_bad,
    )
    if main and trainer.world > 1:
        dist.barrier()
    check_pictures(trainer, source, options)
    try:
        with RunLog(options.output, main) as log:
            Run(trainer, source, Validation(source, options.validate_on), options, log).go()
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def join(device: str) -> str:
    """Joins the processes that torchrun started; returns this one's device, on GPUs one of its own."""
    cuda = device.startswith("cuda")
    if cuda:
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
    return device


def alone(folder: Path) -> AbstractContextManager[object]:
    """Locks a folder against other runs, at most until the process ends. Raises UsageError if another run has it."""
    try:
        return FileLock(folder / "run.lock").acquire(blocking=False)
    except Timeout:
        raise UsageError(f"another run is writing to {folder}; wait for it, or give another --output") from None


def resume(trainer: Trainer, state: Path, options: RunOptions) -> None:
    """Resumes from a state. Raises UsageError if it was made with other settings, or from other weights.

    With `--allow-changes`, other settings are used from here on, and the recipe says from which step.
    """
    about = trainer.peek(state)
    for given, sha256, flag in (
        (options.start_from, about.get("origin"), "--start-from"),
        (options.anchor, about.get("anchor"), "--anchor"),
    ):
        if given is not None and load_weights(given)[1].sha256 != sha256:
            raise UsageError(
                f"{state} is of a run that did not begin with {given}; leave out {flag} to go on with it, or begin "
                "another run with another --output"
            )
    before = about["config"]
    now = asdict(trainer.config)
    changed = {name: [before.get(name), now[name]] for name in now if _plain(before.get(name)) != _plain(now[name])}
    if changed and (not options.allow_changes or any(name in changed for name in STRUCTURE)):
        listed = ", ".join(f"{name} {as_typed(old)}, not {as_typed(new)}" for name, (old, new) in changed.items())
        fixed = [name for name in STRUCTURE if name in changed]
        way = (
            f"its {' and '.join(fixed)} cannot change" if fixed else "give --allow-changes to go on with other settings"
        )
        raise UsageError(f"{state} was made with {listed}; {way}, or begin another run with another --output")
    trainer.load(state)
    if changed:
        trainer.changes.append({"step": trainer.step, **changed})


def check_pictures(trainer: Trainer, source: PatchSource, options: RunOptions) -> None:
    """Records the pictures of a run. Raises UsageError if it resumes with others without `--allow-changes`."""
    before, now = trainer.pictures, source.about
    if "sha256" in before and before["sha256"] != now["sha256"]:
        if not options.allow_changes:
            raise UsageError(
                f"{options.output} learnt from {before['count']} other pictures ({', '.join(before['folders'])}); give "
                "--allow-changes to go on with these, or begin another run with another --output"
            )
        trainer.changes.append({"step": trainer.step, "pictures": [before["sha256"], now["sha256"]]})
    trainer.pictures = now
    if trainer.rank == 0:
        for line in source.bad:
            print(f"left out: {printable(line)}")


def _plain(value: Any) -> Any:
    """As it comes back from JSON."""
    return list(value) if isinstance(value, tuple) else value


class Run:
    """The loop over steps, and what it writes: log, state, averaged weights, the best of them so far."""

    def __init__(
        self, trainer: Trainer, source: PatchSource, validation: Validation, options: RunOptions, log: RunLog
    ) -> None:
        self._trainer = trainer
        self._source = source
        self._validation = validation
        self._options = options
        self._log = log
        self._folder = options.output
        self._losses: list[Tensor] = []
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._lowest = math.inf
        self._began = time.monotonic()
        self._first = trainer.step
        self._saved: int | None = trainer.step or None

    def go(self) -> None:
        """Trains every step that is left. Raises UsageError if training diverges; what was saved before stays."""
        trainer, options = self._trainer, self._options
        steps, main = trainer.config.steps, trainer.rank == 0
        bar = tqdm(total=steps, initial=trainer.step, disable=not main, mininterval=10, unit="step")
        with bar:
            while trainer.step < steps:
                self._losses.append(trainer.train_step(self._source))
                bar.update()
                step, last = trainer.step, trainer.step == steps
                validating = step % options.validate_every == 0 or last
                saving = step % options.save_every == 0 or last
                if not (validating or saving or step % options.log_every == 0):
                    continue
                record = self._measured()  # by every process, so that all of them stop
                if not main:
                    self._saved = step if saving else self._saved  # by the first process
                    continue
                if validating:
                    record |= self._validated()
                self._log.write(record)
                bar.set_postfix_str(f"loss {record['loss']:.5f}, {record['pixels_per_second'] / 1e6:.3g} MP/s")
                if saving:
                    self._save()

    def _measured(self) -> dict[str, Any]:
        """Step, loss since the last record, rates, and time. Raises UsageError if training diverges."""
        trainer = self._trainer
        losses = trainer.mean_of_all(torch.stack(self._losses))
        self._losses.clear()
        self._recent.extend(losses.tolist())
        loss, recent = float(losses.mean()), sum(self._recent) / len(self._recent)
        if not math.isfinite(loss) or recent > DIVERGED * self._lowest or not trainer.is_finite():
            kept = "nothing was saved yet" if self._saved is None else f"the state of step {self._saved} is kept"
            raise UsageError(
                f"training diverged before step {trainer.step} (loss {recent:.3g}, lowest {self._lowest:.3g}); {kept} "
                f"in {self._folder}. Use a lower --rate or --clip"
            )
        self._lowest = min(self._lowest, recent)
        seconds = time.monotonic() - self._began
        done = trainer.step - self._first
        config = trainer.config
        return {
            "step": trainer.step,
            "loss": loss,
            "rate": config.rate_at(trainer.step - 1),
            "seconds": seconds,
            "seconds_left": seconds / done * (config.steps - trainer.step),
            "pixels_per_second": done * config.batch * config.core**2 / seconds,
        }

    def _validated(self) -> dict[str, Any]:
        """Scores of the averaged weights; writes these if they are the best so far."""
        trainer = self._trainer
        scores = self._validation.scores(trainer)
        if psnr := scores.get("psnr"):
            finest = psnr[trainer.config.scale]
            if trainer.best is None or finest > trainer.best["psnr"]:
                trainer.best = {"step": trainer.step, "psnr": finest}
                self._export("best.safetensors")
        if self._log.shows_pictures:
            self._log.show(trainer.step, self._validation.pictures(trainer))
        return scores

    def _save(self) -> None:
        # The state last: a run that ends before it repeats the steps since the last one, and then writes both.
        self._export("weights.safetensors")
        self._trainer.save(self._folder / "state.safetensors")
        self._saved = self._trainer.step

    def _export(self, name: str) -> None:
        trainer = self._trainer
        save_weights(self._folder / name, trainer.average, recipe=trainer.recipe, pictures=trainer.pictures)
