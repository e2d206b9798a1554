"""The folder of a picture in progress: its plan, finished bands, and which process works on which.

Processes claim bands with flock(2), on one machine or on a file system that machines share. A lock ends with its
process, however that ends, so a claim is never left behind.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from app.bands.lock import lock, locked
from app.codec.types import Samples
from app.errors import StartupError

_PLAN = "plan.json"


class Work:
    """Bands are numbered from 0; each is a file of samples, there once it is complete."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder. Raises OSError."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def plan(self, asked: dict[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The plan that the first process made with `make`; `asked` has to be the same in all of them.

        Raises StartupError if it is not.
        """
        file = self.folder / _PLAN
        with locked(self.folder / "plan.lock"):
            if not file.exists():
                for left in self.folder.glob("*.npy"):  # by a process that was killed while it removed them
                    left.unlink()
                self._put(file, json.dumps({"asked": asked, "made": make()}).encode())
        found = json.loads(file.read_text())
        different = sorted(name for name in asked if found["asked"].get(name) != asked[name])
        if different:
            raise StartupError(
                f"{self.folder} holds bands made otherwise ({', '.join(different)} differ): run the same command "
                "again, or remove the folder"
            )
        made: dict[str, Any] = found["made"]
        return made

    @contextlib.contextmanager
    def claim(self, name: str) -> Iterator[bool]:
        """Whether this process may do the work called `name`; if so, no other one may until the context ends.

        False also once the work is over: bands that are being removed are not missing.
        """
        with contextlib.ExitStack() as stack:
            mine = self.under_way
            if mine:
                try:
                    file = stack.enter_context((self.folder / f"{name}.lock").open("ab"))
                    lock(file, wait=False)
                except (BlockingIOError, FileNotFoundError):  # another has it, or has just removed the folder
                    mine = False
            yield mine and self.under_way

    @property
    def under_way(self) -> bool:
        """Whether there is a plan: from when it is made until the result is there."""
        return (self.folder / _PLAN).exists()

    def done(self, band: int) -> bool:
        """Whether a band is complete."""
        return self._band(band).exists()

    def put(self, band: int, samples: Samples) -> None:
        """Writes a band; it is on disk when this returns."""
        self._put(self._band(band), samples)

    def get(self, band: int) -> Samples:
        """A band, mapped from its file."""
        samples: Samples = np.load(self._band(band), mmap_mode="r")
        return samples

    def remove(self) -> None:
        """Removes the folder, once the result is there. The plan goes first, as removing the bands may take a while."""
        (self.folder / _PLAN).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def forget(self) -> None:
        """Removes the folder, unless there is a plan that a process may be following."""
        if not self.under_way:
            self.remove()

    def _band(self, band: int) -> Path:
        return self.folder / f"{band:06}.npy"

    def _put(self, target: Path, content: bytes | Samples) -> None:
        part = target.with_name(f"{target.name}.part")
        with part.open("wb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                # np.save's errors do not say that a disk is full, only how many samples were written.
                rows = np.ascontiguousarray(content)
                np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(rows))
                file.write(rows.data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
