"""File locks that end with their process, however that ends."""

import contextlib
import importlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

with contextlib.suppress(ImportError):  # Windows has none
    import fcntl

_PAUSE_SECONDS = 0.05


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock of a file, which it creates, while the context lasts; other processes wait. Raises OSError."""
    with path.open("ab") as file:
        lock(file, wait=True)
        yield


def lock(file: BinaryIO, *, wait: bool) -> None:
    """Holds until the file is closed. Raises BlockingIOError if another process has it and `wait` is false."""
    if "fcntl" in globals():
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    msvcrt: Any = importlib.import_module("msvcrt")
    while True:
        file.seek(0)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            if not wait:
                raise BlockingIOError from None
            time.sleep(_PAUSE_SECONDS)
        else:
            return
