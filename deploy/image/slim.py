"""Removes from site-packages what serving never reads: headers, compilers, static libraries, tests, debug symbols."""

import shutil
import subprocess
import sys
from pathlib import Path

FOLDERS = (
    *("numpy/distutils", "numpy/f2py"),
    *("torch/include", "torch/share", "torch/test", "torch/utils/benchmark", "torch/utils/model_dump"),
)
TEST_SUITES = ("numpy", "scipy", "sympy", "networkx", "mpmath", "imagecodecs", "tifffile")
"""Packages whose folders named `tests` are test suites. By name: torch and others import modules called so."""
FILES = (
    *("**/*.a", "**/*.lib", "**/*.pyi", "**/*.pxd", "**/*.pyx", "**/*.cmake", "torch/bin/protoc*", "torch/bin/test_*"),
    # Of languages; rich imports the package.
    *("pygments/lexers/[a-z]*.py", "pygments/lexers/_*_builtins.py"),
    *("pygments/lexers/__pycache__/[a-z]*", "pygments/lexers/__pycache__/_*_builtins.*"),
    "fastapi_offline/static/redoc*",  # another form of the documentation, which is not served
)
CODECS = (
    *("avif", "brotli", "cms", "deflate", "imcd", "jpeg8", "jpegsof3", "jpegxl", "ljpeg", "lzma", "png", "shared"),
    *("shared_cython", "tiff", "webp", "zlib", "zlibng", "zstd"),
)
"""Modules of imagecodecs that the service or tifffile loads, or that those load; each loads on first use."""
LIBRARIES = (
    *("SPERR", "SZ3c", "blosc2", "charls", "cpcodec", "jpegxr", "jxrglue", "lz4", "meshoptimizer", "openjp2"),
    *("openjph", "uhdr", "zfp"),
)
"""What the other modules alone are linked with."""


def slim(site: Path) -> int:
    """Deletes below `site`; returns the bytes freed. Fails if `site` is no folder of packages."""
    if not any(site.glob("*.dist-info")):
        raise SystemExit(f"{site} holds no installed packages")
    patterns = [*FILES, *(f"imagecodecs.libs/lib{library}-*" for library in LIBRARIES)]
    codecs = {file.name.partition(".")[0].removeprefix("_"): file for file in (site / "imagecodecs").glob("_*.so")}
    patterns += [str(file.relative_to(site)) for name, file in codecs.items() if name not in CODECS]
    folders = [site / name for name in FOLDERS]
    folders += [tests for name in TEST_SUITES for tests in (site / name).rglob("tests") if tests.is_dir()]
    freed = 0
    for folder in folders:
        freed += sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file())
        shutil.rmtree(folder, ignore_errors=True)
    for pattern in patterns:
        for file in site.glob(pattern):
            freed += file.lstat().st_size
            file.unlink()
    return freed


def strip(site: Path) -> int:
    """Removes debug information from extension modules; returns the bytes freed.

    Not from the libraries beside them, which have been edited when they were packed. Needs binutils. Raises
    CalledProcessError.
    """
    modules = [file for file in site.rglob("*.so") if not file.parent.name.endswith(".libs")]
    before = sum(file.stat().st_size for file in modules)
    subprocess.run(["strip", "--strip-debug", *modules], check=True)
    return before - sum(file.stat().st_size for file in modules)


if __name__ == "__main__":
    packages = Path(sys.argv[1])
    print(f"slim: {(slim(packages) + strip(packages)) / 1e6:.0f} MB removed")
