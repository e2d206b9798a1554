"""Compiles what is in C; without it the service runs on packages alone, slower. The rest: pyproject.toml.

The libraries are loaded by ctypes, so that one wheel serves every Python: its tag is py3-none-PLATFORM. LAPSRN_TARGET
compiles for another machine: one of TARGETS, such as aarch64-linux.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.errors import CompileError


class Target(NamedTuple):
    """A machine: as the compiler calls it, and as wheels do."""

    triple: str
    platform: str


TARGETS = {
    "x86_64-linux": Target("x86_64-linux-gnu.2.28", "manylinux_2_28_x86_64"),
    "aarch64-linux": Target("aarch64-linux-gnu.2.28", "manylinux_2_28_aarch64"),
    "x86_64-macos": Target("x86_64-macos.11.0", "macosx_11_0_x86_64"),
    "aarch64-macos": Target("aarch64-macos.11.0", "macosx_11_0_arm64"),
    "x86_64-windows": Target("x86_64-windows-gnu", "win_amd64"),
}
SYSTEMS = {"linux": "linux", "darwin": "macos", "win32": "windows"}
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
own_machine = platform.machine().lower()
OWN = f"{MACHINES.get(own_machine, own_machine)}-{SYSTEMS.get(sys.platform, sys.platform)}"
NAME = os.environ.get("LAPSRN_TARGET") or OWN
if NAME not in TARGETS and NAME != OWN:
    raise SystemExit(f"LAPSRN_TARGET={NAME}: there are {', '.join(TARGETS)}")
TARGET = TARGETS.get(NAME)


class BuildPackages(build_py):
    """Puts the weights into the package lapsrn of a wheel; a checkout has them in a folder of their own."""

    def run(self) -> None:
        """Copies, unless this is for an installation that points to the checkout."""
        super().run()
        if not self.editable_mode:
            folder = Path(self.build_lib) / "lapsrn" / "weights"
            folder.mkdir(parents=True, exist_ok=True)
            for file in [*Path("weights").glob("*.safetensors"), *Path("weights").glob("README.md")]:
                shutil.copy(file, folder)


class BuildWheel(bdist_wheel):
    """A wheel for a platform and every Python."""

    def finalize_options(self) -> None:
        """The platform is that of the target."""
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self) -> tuple[str, str, str]:
        """See BuildWheel."""
        return "py3", "none", TARGET.platform if TARGET else super().get_tag()[2]


class BuildLibrary(build_ext):
    """A plain shared library, loaded by ctypes, built with the compiler that pyproject.toml asks for."""

    def initialize_options(self) -> None:
        """Several at a time."""
        super().initialize_options()
        self.parallel = os.cpu_count()

    def get_ext_filename(self, fullname: str) -> str:
        """Return app/codec/_native.so for app.codec._native, whichever Python it is."""
        return str(Path(*fullname.split("."))) + ".so"

    def build_extension(self, ext: Extension) -> None:
        """Compile. Raises CompileError, which the installation survives, as every extension here is optional."""
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        cache = {"ZIG_GLOBAL_CACHE_DIR": str(Path(self.build_temp).absolute() / "zig")}
        compiler = [sys.executable, "-m", "ziglang", "cc", "-O3", "-shared", "-s"]
        if TARGET is not None:
            compiler += ["-target", TARGET.triple]
        if "windows" not in NAME:
            compiler.append("-fPIC")
        try:
            subprocess.run(
                [*compiler, *ext.extra_compile_args, "-o", str(target), *ext.sources],
                check=True,
                env=os.environ | cache,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            raise CompileError(str(error)) from error


X86 = NAME.startswith("x86_64-")
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
setup(
    ext_modules=[*everywhere, *X86 * on_x86] if TARGET else [],
    options={"build": {"build_base": f"build/{NAME}"}},  # what is compiled for one machine stays out of others' wheels
    cmdclass={"build_ext": BuildLibrary, "build_py": BuildPackages, "bdist_wheel": BuildWheel},
)
