"""Compiles what is in C, on Linux; without it the service runs on packages alone, slower. The rest: pyproject.toml."""

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
        """Return app/codec/_native.so for app.codec._native, whichever Python it is."""
        return str(Path(*fullname.split("."))) + ".so"

    def build_extension(self, ext: Extension) -> None:
        """Compile. Raises CompileError, which the installation survives, as every extension here is optional."""
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        cache = {"ZIG_GLOBAL_CACHE_DIR": str(Path(self.build_temp).absolute() / "zig")}
        compiler = [sys.executable, "-m", "ziglang", "cc", "-O3", "-shared", "-fPIC", "-s"]
        try:
            subprocess.run(
                [*compiler, *ext.extra_compile_args, "-o", str(target), *ext.sources],
                check=True,
                env=os.environ | cache,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            raise CompileError(str(error)) from error


LINUX, MACHINE = sys.platform == "linux", platform.machine()
X86 = MACHINE == "x86_64"
ANY_CPU, AVX2, AVX512 = "-mcpu=baseline", "-march=x86_64_v3", "-march=x86_64_v4"
WITH_AMX = [AVX512, "-mavx512bf16", "-mamx-tile", "-mamx-bf16"]  # what amx.py looks for


def library(name: str, sources: str, *flags: str) -> Extension:
    """A library of the C files that `sources`, a pattern, names, with all headers beside them."""
    files = sorted(map(str, Path().glob(sources)))
    headers = sorted(map(str, Path(sources).parent.glob("*.h")))
    return Extension(name, files, depends=headers, extra_compile_args=list(flags), optional=True)


everywhere = [
    library("app.codec._native", "app/codec/*.c", ANY_CPU),
    library(f"model.backends.winograd._{'sse2' if X86 else 'neon'}", "model/backends/winograd/*.c", ANY_CPU),
]
on_x86 = [
    library("app.codec._native_avx2", "app/codec/*.c", AVX2),
    library("model.backends.winograd._avx2", "model/backends/winograd/*.c", AVX2),
    library("model.backends.winograd._avx512", "model/backends/winograd/*.c", AVX512),
    library("model.backends.amx._amx", "model/backends/amx/*.c", *WITH_AMX),
]
setup(ext_modules=LINUX * [*everywhere, *X86 * on_x86], cmdclass={"build_ext": BuildLibrary})
