"""A control group with a memory limit, as a container has: real processes in it meet a real out-of-memory killer."""

import contextlib
import os
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

_V1, _V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


class MemoryGroup:
    """`with MemoryGroup(limit) as group:`, and `group.enter` as a child process's `preexec_fn`.

    Needs the right to make groups below this process's own, which root has unless it is in a container. Raises OSError
    on entering where that is missing.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._folder = Path()
        self._version = 1 if (_V1 / "memory.limit_in_bytes").exists() or (_V1 / "memory.usage_in_bytes").exists() else 2

    def __enter__(self) -> Self:
        self._folder = self._own() / f"lapsrn-{uuid.uuid4().hex[:12]}"
        self._folder.mkdir()
        try:
            names = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes") if self._version == 1 else ("memory.max",)
            for name in names:
                if name == names[0] or (self._folder / name).exists():
                    (self._folder / name).write_text(str(self._limit))
        except OSError:
            self._folder.rmdir()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Its processes must have been ended; those that are about to be gone are waited for."""
        for _ in range(100):
            with contextlib.suppress(OSError):
                self._folder.rmdir()
                return
            time.sleep(0.1)

    def enter(self) -> None:
        """Puts the calling process into the group."""
        (self._folder / "cgroup.procs").write_text(str(os.getpid()))

    @property
    def peak_bytes(self) -> int:
        """The most that was used so far, the kernel's cache of files included; 0 where the kernel does not tell."""
        path = self._folder / ("memory.max_usage_in_bytes" if self._version == 1 else "memory.peak")
        return int(path.read_text()) if path.exists() else 0

    @property
    def kills(self) -> int:
        """Processes that were ended because memory had run out."""
        path = self._folder / ("memory.oom_control" if self._version == 1 else "memory.events")
        return next(int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith("oom_kill "))

    def _own(self) -> Path:
        """The folder of this process's own group."""
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            if self._version == 1 and "memory" in controllers.split(","):
                return _V1 / path.lstrip("/")
            if self._version == 2 and number == "0":
                return _V2 / path.lstrip("/")
        raise FileNotFoundError("no control group of this process limits memory")
