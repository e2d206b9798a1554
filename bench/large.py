"""A picture of 200 megapixels by `lapsrn upscale-large` within 2 GiB, killed once on the way.

`python -m bench.large` makes the source from photographs, 4096 x 3072 as BigTIFF in tiles, and says how long, how much
memory (the largest resident set of the process) and whether the pixels are the service's where they can be compared.
"""

import hashlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import skimage.data
import tifffile
from numpy.typing import NDArray
from PIL import Image

from model.entry import Parser, at_least

LIMIT = 2 << 30
_PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "rocket", "immunohistochemistry", "hubble_deep_field")


def mosaic(height: int, width: int) -> NDArray[np.uint8]:
    """Photographs beside each other until (height, width, 3) is full."""
    pictures = [getattr(skimage.data, name)()[..., :3] for name in _PHOTOGRAPHS]
    out = np.zeros((height, width, 3), np.uint8)
    top, turn = 0, 0
    while top < height:
        left = 0
        while left < width:
            picture = pictures[turn % len(pictures)][:256, :384]
            part = out[top : top + picture.shape[0], left : left + picture.shape[1]]
            part[...] = picture[: part.shape[0], : part.shape[1]]
            left, turn = left + picture.shape[1], turn + 1
        top += 256
    return out


def save_source(path: Path, height: int, width: int) -> None:
    """Writes the mosaic as BigTIFF in tiles, or as PNG."""
    picture = mosaic(height, width)
    if path.suffix == ".tif":
        tifffile.imwrite(path, picture, tile=(256, 256), compression="adobe_deflate", bigtiff=True)
    else:
        Image.fromarray(picture).save(path, compress_level=1)


def _run(command: list[str], stop_after: int | None) -> float:
    """The largest resident set of a command, in bytes; how it ended and how long it took are printed.

    With `stop_after`, it is killed after so many bands. Raises SystemExit if it fails.
    """
    began = time.monotonic()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process.stderr:
        for line in process.stderr:
            print(line, end="", flush=True)
            if stop_after is not None and line.startswith(f"lapsrn: {stop_after} of "):
                process.send_signal(signal.SIGKILL)
                break
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    print(
        f"exit {process.returncode}, {time.monotonic() - began:.0f} s, {usage.ru_utime + usage.ru_stime:.0f} s of CPU "
        f"time, {usage.ru_maxrss / 1024:.0f} MiB resident at most",
        flush=True,
    )
    if process.returncode not in (0, -signal.SIGKILL if stop_after is not None else 0):
        raise SystemExit(f"{' '.join(command[2:])} failed, so nothing was measured")
    return usage.ru_maxrss * 1024


def main() -> int:
    """The exit code is 1 where memory or pixels are not as promised."""
    parser = Parser("bench.large", __doc__)
    parser.add_argument("--height", type=at_least(1), default=3072)
    parser.add_argument("--width", type=at_least(1), default=4096)
    parser.add_argument("--scale", type=int, choices=(2, 4, 8), default=4)
    parser.add_argument("--format", choices=("tif", "png"), default="tif", help="of the source and of the result")
    parser.add_argument("--whole", action="store_true", help="make it in one piece as well, and compare")
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
        source, target = (Path(folder) / f"{name}.{arguments.format}" for name in ("source", "target"))
        # In a process of its own: Linux counts the peak of a process as that of every command it starts.
        with ProcessPoolExecutor(1, get_context("spawn")) as maker:
            maker.submit(save_source, source, arguments.height, arguments.width).result()
        tool, scale = [sys.executable, "-m", "app.cli"], ["--scale", str(arguments.scale)]
        command = [*tool, "upscale-large", str(source), "-o", str(target), *scale]
        most = max(_run(command, stop_after=1), _run(command, stop_after=None))
        pixels = arguments.height * arguments.width
        print(f"{pixels / 1e6:.1f} MP in, {pixels * arguments.scale**2 / 1e6:.1f} MP out: {most / 2**20:.0f} MiB")
        good = most <= LIMIT
        if arguments.whole:
            whole = target.with_stem("whole")
            _run([*tool, "upscale", str(source), "-o", str(whole), *scale, "--quiet"], stop_after=None)
            good &= (same := _same(target, whole))
            print("same pixels as in one piece" if same else "NOT the same pixels")
    return int(not good)


def _same(first: Path, second: Path) -> bool:
    if first.suffix == ".png":  # byte by byte
        digests = {hashlib.file_digest(path.open("rb"), "sha256").digest() for path in (first, second)}
        return len(digests) == 1
    return bool(np.array_equal(tifffile.imread(first), tifffile.imread(second)))


if __name__ == "__main__":
    sys.exit(main())
