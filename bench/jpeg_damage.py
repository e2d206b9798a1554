"""How often damage to a JPEG is noticed: `python -m bench.jpeg_damage [--seeds N]`.

A few bytes of the coded data of made-up photographs are set to zero, replaced by noise, or left out, at its beginning,
in its middle and near its end. No decoder sees damage that happens to be valid code.
"""

import io
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import Image

from app.codec.reader import read
from app.codec.types import DecodeLimits
from app.errors import ClientError
from app.options import UpscaleOptions
from bench.pictures import photograph
from model.entry import Parser, at_least

KINDS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "gray": ("L", {}),
    "4:2:0": ("RGB", {"subsampling": 2}),
    "4:4:4": ("RGB", {"subsampling": 0}),
    "optimised codes": ("RGB", {"optimize": True}),
    "restart markers": ("RGB", {"restart_marker_rows": 1}),
    "progressive": ("RGB", {"progressive": True}),
    "CMYK": ("CMYK", {}),
}
DAMAGES: Mapping[str, Callable[[np.random.Generator, int], bytes]] = {
    "zeros": lambda random, size: bytes(size),
    "noise": lambda random, size: random.bytes(size),
    "left out": lambda random, size: b"",
}
SIZES = (16, 64, 512)
PLACES = 3
SIDE = 256


def refused(data: bytes) -> bool:
    """Whether the service would refuse the picture."""
    try:
        read(data, UpscaleOptions(), DecodeLimits())
    except ClientError:
        return True
    return False


def noticed(seeds: int) -> tuple[Counter[tuple[str, str, int]], int]:
    """How often each (kind, damage, bytes) is noticed, and of how many each."""
    found: Counter[tuple[str, str, int]] = Counter()
    for seed in range(seeds):
        random, samples = np.random.default_rng(seed), photograph(SIDE, SIDE, seed)
        for kind, (mode, settings) in KINDS.items():
            file = io.BytesIO()
            Image.fromarray(samples).convert(mode).save(file, "JPEG", quality=90, **settings)
            whole = file.getvalue()
            first = whole.index(b"\xff\xda") + 14
            for size in SIZES:
                for place in range(PLACES):
                    part = (len(whole) - 2 - first) // PLACES
                    at = first + place * part + int(random.integers(part - size))
                    for damage, made in DAMAGES.items():
                        data = whole[:at] + made(random, size) + whole[at + size :]
                        found[kind, damage, size] += refused(data)
    return found, seeds * PLACES


def main() -> None:
    """A table in Markdown, in percent."""
    parser = Parser("bench.jpeg_damage", __doc__)
    parser.add_argument("--seeds", type=at_least(1), default=20)
    found, count = noticed(parser.parse_args().seeds)
    columns = [(damage, size) for damage in DAMAGES for size in SIZES]
    print("| JPEG | " + " | ".join(f"{damage}, {size} bytes" for damage, size in columns) + " |")
    print("|---" * (1 + len(columns)) + "|")
    for kind in KINDS:
        shares = (100 * found[kind, damage, size] / count for damage, size in columns)
        print(f"| {kind} | " + " | ".join(f"{share:.0f}%" for share in shares) + " |")


if __name__ == "__main__":
    main()
