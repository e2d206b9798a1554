"""amx.c for CPUs without AMX: compiled with emulated/immintrin.h, so that tests run it anywhere, only slower.

with emulated(): ...
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from unittest import mock

from model.backends.amx import amx

HERE = Path(__file__).parent
HEADER = HERE / "emulated" / "immintrin.h"
SOURCE = Path(amx.__file__).with_name("amx.c")
BUILT = HERE.parents[2] / "build" / "emulated"
FLAGS = ["-O3", "-Werror"]
SHARED = ["-shared", "-fPIC"]
CHECKED = ["-fsanitize=undefined", "-fsanitize-trap=undefined"]
"""What C leaves undefined ends the process."""
NATIVE = ["-march=native"]


def compiled(source: Path, *flags: str, emulate: bool = True) -> Path:
    """The shared library of a C source with AMX emulated, made if no earlier run has. Raises OSError."""
    more = [f"-I{HEADER.parent}"] * emulate
    return built(source, *SHARED, *flags, *more, depends=[*sorted(SOURCE.parent.glob("*.h")), HEADER])


def built(source: Path, *flags: str, depends: Sequence[Path] = ()) -> Path:
    """What the compiler makes of a source and of what it includes. Raises OSError with what the compiler said."""
    command = [*FLAGS, *flags]
    parts = [path.read_bytes() for path in (source, *depends)]
    key = hashlib.sha256(b"\0".join([*parts, " ".join(command).encode()])).hexdigest()[:16]
    target = BUILT / f"{source.stem}-{key}.so"
    if not target.exists():
        BUILT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILT) as folder:  # other processes may compile the same
            made = Path(folder) / "made.so"
            done = subprocess.run(
                [sys.executable, "-m", "ziglang", "cc", *command, "-o", str(made), str(source)],
                env={**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(BUILT / "zig")},
                capture_output=True,
                text=True,
            )
            if done.returncode:
                raise OSError(done.stderr)
            made.replace(target)
    return target


@cache
def library() -> Path:
    """amx.c as an emulated library that checks itself. Raises OSError where nothing compiles."""
    return compiled(SOURCE, *NATIVE, *CHECKED)


@cache
def why_not() -> str | None:
    """Why the AMX backend can be tested neither on this CPU nor emulated; None if it can."""
    if amx.missing() is None:
        return None
    try:
        library()
    except OSError as error:
        return f"no AMX, and amx.c is not compiled for its emulation: {str(error).splitlines()[-1]}"
    return None


@contextmanager
def emulated(path: Path | None = None) -> Iterator[None]:
    """The AMX backend runs on the emulation, or on the library given, whatever the CPU has."""
    amx._library.cache_clear()
    try:
        with mock.patch.object(amx, "LIBRARY", path or library()), mock.patch.object(amx, "has_amx", lambda: True):
            yield
    finally:
        amx._library.cache_clear()


@contextmanager
def wherever_it_runs() -> Iterator[None]:
    """The AMX backend runs on the CPU's own AMX, or else on the emulation."""
    if amx.missing() is None:
        yield
    else:
        with emulated():
            yield
