"""Files that are written whole or not at all, and text that is safe to print."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Adds the name of this file to an OSError without one, as raised for a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which replaces `path` once it is complete and on disk.

    After any error, `path` is what it was, and nothing is left beside it. Raises OSError, which names a file, also for
    what is no file: root would replace /dev/null for the whole machine.
    """
    if path.exists() and not path.is_file():
        raise FileExistsError(errno.EEXIST, "not a regular file; name another", str(path))
    partial = path.with_name(path.name + ".partial")
    try:
        with named(path), partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def printable(text: str) -> str:
    r"""`text` in one line, with control characters and what cannot be shown escaped as in Python: \n, \x1b, \udcff."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
