"""Removes from site-packages what serving never reads: headers, static libraries, build files, test suites."""

import shutil
import sys
from pathlib import Path

FOLDERS = ("torch/include", "torch/share", "torch/test", "torch/utils/benchmark", "torch/utils/model_dump")
TEST_SUITES = ("numpy", "scipy", "sympy", "networkx", "mpmath", "imagecodecs", "tifffile")
"""Packages whose folders named `tests` are test suites. By name: torch and others import modules called so."""
FILES = ("**/*.a", "**/*.lib", "**/*.pyi", "**/*.pxd", "**/*.cmake", "torch/bin/protoc*", "torch/bin/test_*")


def slim(site: Path) -> int:
    """Deletes below `site`; returns the bytes freed. Fails if `site` is no folder of packages."""
    if not any(site.glob("*.dist-info")):
        raise SystemExit(f"{site} holds no installed packages")
    folders = [site / name for name in FOLDERS]
    folders += [tests for name in TEST_SUITES for tests in (site / name).rglob("tests") if tests.is_dir()]
    freed = 0
    for folder in folders:
        freed += sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file())
        shutil.rmtree(folder, ignore_errors=True)
    for pattern in FILES:
        for file in site.glob(pattern):
            freed += file.lstat().st_size
            file.unlink()
    return freed


if __name__ == "__main__":
    print(f"slim: {slim(Path(sys.argv[1])) / 1e6:.0f} MB removed")
