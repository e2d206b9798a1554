"""Compiles winograd.c for tests where the installation has not: with the system's compiler, for each kind of CPU."""

import platform
import shutil
import subprocess
from pathlib import Path

from model.backends.winograd import winograd

FLAGS = {"avx512": ["-march=x86-64-v4"], "avx2": ["-march=x86-64-v3"], "sse2": ["-march=x86-64"], "neon": []}


def compiled(folder: Path) -> Path:
    """Where the libraries are: with the source, or in `folder`, made now, if there is a compiler."""
    names = [name for name in winograd.TARGETS if platform.machine() == "x86_64" or name == "neon"]
    if all((winograd.FOLDER / f"_{name}.so").exists() for name in names):
        return winograd.FOLDER
    compiler = shutil.which("cc")
    for name in names if compiler else ():
        command = [str(compiler), "-O3", "-w", "-shared", "-fPIC", *FLAGS[name], "-o", str(folder / f"_{name}.so")]
        subprocess.run([*command, str(winograd.FOLDER / "winograd.c")], check=True)
    return folder
