"""winograd.c for ARM on any machine: compiled for it, with checks, and run by qemu, a process for every call."""

import ctypes
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import numpy as np

from model.backends.winograd import winograd
from tests.model.backends.emulation import CHECKED, HERE, built

EMULATOR = "qemu-aarch64"
DRIVER = HERE / "emulated" / "run_winograd.c"
FLAGS = ["-target", "aarch64-linux-musl", "-mcpu=baseline", "-static", "-nostdlib", "-fno-builtin"]
INCLUDED = [winograd.FOLDER, HERE / "freestanding"]


class _Call(ctypes.Structure):
    _fields_ = [
        ("weights", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("levels", ctypes.c_int32),
        ("height", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("network", winograd._Network),
    ]


class _Arena(winograd._Arena):
    """Remembers where the weights of the network that is made are."""

    latest: ClassVar[list[Any]] = []

    def __init__(self, network: Any) -> None:
        super().__init__(network)
        _Arena.latest = [self]


class Emulated:
    """What winograd._library gives for a CPU that this one is not."""

    def __init__(self) -> None:
        self._program = program()
        self._arenas: dict[int, _Arena] = {}

    def lapsrn_strip(self) -> int:
        return int(np.frombuffer(self._run(_Call()), np.int32)[0])

    def lapsrn_margin(self, network: Any) -> int:
        return int(np.frombuffer(self._run(_Call(network=network._obj)), np.int32)[1])

    def lapsrn_memory(self, *_: Any) -> int:
        return 0

    def lapsrn_run(self, network: Any, levels: int, height: int, width: int, luma: int, cores: Any, _: int) -> None:
        arena = self._arenas.setdefault(ctypes.addressof(network._obj), _Arena.latest[0])._memory
        call = _Call(arena.ctypes.data, arena.size, levels, height, width, network._obj)
        margin = self.lapsrn_margin(network)
        tile = ctypes.string_at(luma, (height + 2 * margin) * (width + 2 * margin) * 4)
        answer = self._run(call, arena.tobytes(), tile)[8:]
        for core, level in zip(cores, range(1, levels + 1), strict=True):
            size = height * width * 4 << 2 * level
            ctypes.memmove(core, answer[:size], size)
            answer = answer[size:]

    def _run(self, *parts: Any) -> bytes:
        done = subprocess.run([EMULATOR, str(self._program)], input=b"".join(map(bytes, parts)), capture_output=True)
        assert done.returncode == 0, f"{EMULATOR}: {done.returncode} {done.stderr.decode()}"
        return done.stdout


@cache
def program() -> Path:
    """The driver with winograd.c in it. Raises OSError where nothing compiles."""
    depends = [path for folder in INCLUDED for path in sorted(folder.glob("*.[ch]"))]
    return built(DRIVER, *FLAGS, *(f"-I{folder}" for folder in INCLUDED), *CHECKED, depends=depends)


@cache
def why_not() -> str | None:
    """Why nothing can be run for ARM here; None if it can."""
    if shutil.which(EMULATOR) is None:
        return f"{EMULATOR} is not installed (Debian: qemu-user)"
    try:
        program()
    except OSError as error:
        return f"winograd.c is not compiled for ARM: {str(error).splitlines()[-1]}"
    return None


@contextmanager
def emulated() -> Iterator[None]:
    """Meanwhile the target neon is an emulation."""
    library, real = Emulated(), winograd._library
    with (
        mock.patch.object(winograd, "_library", lambda target: library if target == "neon" else real(target)),
        mock.patch.object(winograd, "_Arena", _Arena),
    ):
        yield
