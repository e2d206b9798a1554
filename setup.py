"""Compiles model/amx.c where its instructions can be there, Linux on x86-64. Everything else is in pyproject.toml."""

import os
import platform
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError


class BuildLibrary(build_ext):
    """A plain shared library, loaded by ctypes, built with the compiler that pyproject.toml asks for."""

    def get_ext_filename(self, fullname: str) -> str:
        """Return model/_amx.so for model._amx, whichever Python it is."""
        return str(Path(*fullname.split("."))) + ".so"

    def build_extension(self, ext: Extension) -> None:
        """Compile. Raises CompileError, which an optional extension survives: torch then computes the network."""
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        cache = {"ZIG_GLOBAL_CACHE_DIR": str(Path(self.build_temp).absolute() / "zig")}
        compiler = [sys.executable, "-m", "ziglang", "cc", "-O3", "-march=sapphirerapids", "-shared", "-fPIC", "-s"]
        try:
            subprocess.run([*compiler, "-o", str(target), *ext.sources], check=True, env=os.environ | cache)
        except (OSError, subprocess.CalledProcessError) as error:
            raise CompileError(str(error)) from error


there = sys.platform == "linux" and platform.machine() == "x86_64"
setup(
    ext_modules=[Extension("model._amx", ["model/amx.c"], depends=["model/amx_blocks.h"], optional=True)]
    if there
    else [],
    cmdclass={"build_ext": BuildLibrary},
)
