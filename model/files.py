"""Files: written whole or not at all, and their names as they can be shown."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Has an OSError that names no file, as for a full disk, name this one."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path` once it is complete and on disk.

    Whatever goes wrong leaves what was there, and nothing beside it. Raises OSError, which names a file.
    """
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
    r"""`text` in one line, with what a terminal could obey or cannot show escaped as in Python: \n, \x1b, \udcff."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
