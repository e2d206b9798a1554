"""`python -m tests.fuzz.corpus FOLDER`: writes what the fuzzer begins with, a few small files of each format."""

import sys
from collections.abc import Iterator
from pathlib import Path

from tests.codec.test_fuzz import SEEDS
from tests.fuzz.target import MAX_BYTES, OPTIONS

_EVERY = 35  # of the options: prime to their number, so that the files see all of them between themselves


def corpus() -> Iterator[tuple[str, bytes]]:
    """(name, fuzzer's input), with other options for each file."""
    for number, (name, data) in enumerate(sorted(SEEDS.items())):
        if len(data) < MAX_BYTES:
            yield name.replace(" ", "-").replace("/", "-"), bytes([number * _EVERY % len(OPTIONS)]) + data


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in corpus():
        (folder / name).write_bytes(data)
