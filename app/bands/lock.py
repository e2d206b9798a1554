"""Locks on open files, which end with their process, however that ends."""

import contextlib
import importlib
import time
from typing import Any, BinaryIO

with contextlib.suppress(ImportError):  # Windows has none
    import fcntl

_PAUSE_SECONDS = 0.05


def lock(file: BinaryIO, *, wait: bool) -> None:
    """Holds until the file is closed. Raises BlockingIOError where another process has it and `wait` is false."""
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
