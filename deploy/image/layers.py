"""Builds the image twice, the second time with one more line of code, and prints what an update downloads.

`python3 -m deploy.image.layers` from the repository's root. Exits with 1 if layers of more than 5 MB changed.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

LIMIT = 5_000_000
"""Bytes of layers, uncompressed."""
_TAG = "lapsrn:layers"


def _layers(context: Path) -> list[tuple[str, int]]:
    """(digest, bytes) of each layer of a build of `context`, the lowest one first."""
    subprocess.run(["docker", "build", "--quiet", "--tag", _TAG, str(context)], check=True, stdout=subprocess.DEVNULL)
    sizes, manifest = dict[str, int](), b""
    with subprocess.Popen(["docker", "save", _TAG], stdout=subprocess.PIPE) as saving:
        assert saving.stdout is not None
        with tarfile.open(fileobj=saving.stdout, mode="r|") as archive:
            for member in archive:
                sizes[member.name] = member.size
                content = archive.extractfile(member) if member.name == "manifest.json" else None
                manifest = content.read() if content else manifest
    return [(name, sizes[name]) for name in json.loads(manifest)[0]["Layers"]]


def main() -> int:
    """The exit code."""
    argparse.ArgumentParser(
        prog="python -m deploy.image.layers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(Path(), copy, ignore=shutil.ignore_patterns(".*venv", ".git", "build", ".mypy_cache"))
        before = _layers(copy)
        with (copy / "app/errors.py").open("a") as file:
            file.write("\nCHANGED = True\n")
        after = _layers(copy)
    known = {digest for digest, _ in before}
    for digest, size in after:
        print(f"{size / 1e6:8.2f} MB  {'kept' if digest in known else 'CHANGED'}  {digest[-64:][:12]}")
    moved = sum(size for digest, size in after if digest not in known)
    print(f"one line of code moves {moved / 1e6:.2f} MB of {sum(size for _, size in after) / 1e6:.0f} MB")
    return int(not 0 < moved <= LIMIT)


if __name__ == "__main__":
    sys.exit(main())
