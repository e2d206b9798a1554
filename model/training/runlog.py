"""What a training run tells while it goes: log.jsonl, and TensorBoard's file where that is installed."""

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class RunLog:
    """Appends records to a run's folder; nothing is written by processes that are not the run's first."""

    def __init__(self, folder: Path, active: bool = True) -> None:
        self._path = folder / "log.jsonl"
        self._writer: Any = None
        if active:
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
        """One line of JSON with "step", "loss" and "rate", and perhaps "psnr" in dB by scale."""
        with self._path.open("a") as out:
            out.write(json.dumps(record) + "\n")
        if self._writer:
            for name in ("loss", "rate"):
                self._writer.add_scalar(name, record[name], record["step"])
            for scale, value in record.get("psnr", {}).items():
                self._writer.add_scalar(f"psnr/x{scale}", value, record["step"])
            self._writer.flush()
