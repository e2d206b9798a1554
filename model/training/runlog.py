"""The log of a training run: log.jsonl, and TensorBoard's file if that is installed."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from model.files import named


def lines(path: Path) -> list[str]:
    """The complete lines of a log: without a last one that a killed run or a full disk cut short. Raises OSError."""
    return path.read_text().split("\n")[:-1]


class RunLog:
    """Appends records to a run's folder; nothing is written by processes that are not the run's first."""

    def __init__(self, folder: Path, active: bool = True) -> None:
        self._folder = folder
        self._path = folder / "log.jsonl"
        self._writer: Any = None
        if active:
            if self._path.exists():  # else the next record would be appended to one that was cut short
                os.truncate(self._path, len("".join(f"{line}\n" for line in lines(self._path)).encode()))
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                return
            self._writer = SummaryWriter(str(folder))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._writer:
            self._writer.close()

    def write(self, record: dict[str, Any]) -> None:
        """One line of JSON with numbers by name, and perhaps "psnr" and "psnr at S" in dB by scale."""
        with named(self._path), self._path.open("a") as out:
            out.write(json.dumps(record) + "\n")
        if self._writer:
            with named(self._folder):
                for name in ("loss", "rate", "pixels_per_second"):
                    self._writer.add_scalar(name, record[name], record["step"])
                for name, scores in record.items():
                    if name.startswith("psnr"):
                        for scale, value in scores.items():
                            self._writer.add_scalar(f"{name}/x{scale}", value, record["step"])
                self._writer.flush()

    @property
    def shows_pictures(self) -> bool:
        """Whether TensorBoard is there for `show`."""
        return self._writer is not None

    def show(self, step: int, pictures: Mapping[str, NDArray[np.uint8]]) -> None:
        """Gray pictures (H, W) by name, in TensorBoard."""
        with named(self._folder):
            for name, picture in pictures.items():
                self._writer.add_image(name, picture, step, dataformats="HW")
            self._writer.flush()
