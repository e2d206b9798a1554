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


codec_sources = ["app/codec/consistency.c", "app/codec/huffman.c", "app/codec/merge.c", "app/codec/png_filters.c"]
codec, codec_avx2 = (
    Extension(
        f"app.codec.{name}",
        codec_sources,
        depends=["app/codec/merge.h"],
        extra_compile_args=[cpus],
        optional=True,
    )
    for name, cpus in (("_native", "-mcpu=baseline"), ("_native_avx2", "-march=x86_64_v3"))
)
amx = Extension(
    "model.backends.amx._amx",
    ["model/backends/amx/amx.c"],
    depends=["model/backends/amx/amx_blocks.h"],
    extra_compile_args=["-march=x86_64_v4", "-mavx512bf16", "-mamx-tile", "-mamx-bf16"],  # what amx.py looks for
    optional=True,
)
linux, x86 = sys.platform == "linux", platform.machine() == "x86_64"
setup(ext_modules=linux * [codec, *x86 * [codec_avx2, amx]], cmdclass={"build_ext": BuildLibrary})
