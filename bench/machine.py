"""The machine on which the numbers were measured."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import torch

from app.build import cores
from app.settings import Settings
from model.backends.registry import choose
from model.checkpoint import load_weights
from model.devices import devices

FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16")


@dataclass(frozen=True, slots=True)
class Machine:
    """`load` is the load average of the last minute before the run: what else was going on."""

    cpu: str
    cores: int
    flags: tuple[str, ...]
    device: str
    dtype: str
    backend: str
    torch: str
    python: str
    load: float

    def markdown(self) -> str:
        """One line."""
        flags = " ".join(self.flags) or "none of " + " ".join(FLAGS)
        return (
            f"{self.cpu}, {self.cores} cores ({flags}), torch {self.torch}, Python {self.python}; "
            f"served: {self.dtype} on {self.device}, backend {self.backend}; load average before: {self.load:.1f}"
        )


def describe() -> Machine:
    """This machine, according to Linux and torch; fields that they do not know are empty."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    fields = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    values = {name.strip(): value.strip() for name, value in fields.items()}
    present = values.get("flags", "").split()
    device = devices("auto")[0]
    settings = Settings()
    dtype, backend = choose(load_weights(settings.weights)[0].config, device, settings.dtype, settings.backend)
    return Machine(
        cpu=values.get("model name", platform.processor()),
        cores=cores(),
        flags=tuple(flag for flag in FLAGS if flag in present),
        device=device,
        dtype=dtype,
        backend=backend.name,
        torch=torch.__version__,
        python=platform.python_version(),
        load=os.getloadavg()[0],
    )
