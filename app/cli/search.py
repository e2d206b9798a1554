"""Finds files below a folder by a pattern, without following links to folders; reports unreadable folders."""

import fnmatch
import glob
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from app.cli import files

EVERYTHING = ("**", "*")
"""The pattern of every file in a folder and its subfolders."""


def search(folder: Path, pattern: tuple[str, ...], excluded: Collection[str] = ()) -> Iterator[tuple[Path, str]]:
    """Yields (file, "") for files below `folder` that match `pattern`, a glob split into its components.

    `**` stands for any number of folders. Names that begin with a dot match only components that do, too. Subfolders
    whose real paths are in `excluded` are skipped. A folder that cannot be listed yields (folder, reason). Names are
    sorted, and the files of a folder come before those of its subfolders.
    """
    waiting = [(folder, pattern)]
    seen = set()
    while waiting:
        step = folder, (head, *below) = waiting.pop()
        if step in seen:
            continue
        seen.add(step)
        try:
            found = _children(folder, "*" if head == "**" else head)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            yield folder, files.reason(error)
            continue
        if head == "**":
            waiting += [(child, step[1]) for child in _folders(found, excluded)]
            waiting.append((folder, tuple(below) or ("*",)))
        elif below:
            waiting += [(child, tuple(below)) for child in _folders(found, excluded)]
        else:
            yield from ((path, "") for path in found if not files.is_folder(path))


def _children(folder: Path, name: str) -> list[Path]:
    """The entries of `folder` that match `name`, a pattern or a plain name, sorted. Raises OSError."""
    if not glob.has_magic(name):
        os.lstat(folder / name)
        return [folder / name]
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if name.startswith(".") or not entry.name.startswith("."))
    return [folder / each for each in names if fnmatch.fnmatchcase(each, name)]


def _folders(found: Sequence[Path], excluded: Collection[str]) -> Iterator[Path]:
    """The folders to descend into, in reverse order, as they are put on a stack."""
    for path in reversed(found):
        if files.is_folder(path) and not path.is_symlink() and os.path.realpath(path) not in excluded:
            yield path
