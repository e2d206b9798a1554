"""Files named on a command line: whether they can be read or written, and writing results atomically."""

import contextlib
import errno
import os
import secrets
import select
import stat
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

NOT_REGULAR = "not a regular file"
Sameness = Callable[[Path | str], str]
"""Maps equivalent paths to the same text."""
_unfinished: set[Path] = set()
"""Temporary files that are being written now."""


def unreadable(path: Path) -> str:
    """Why no picture can be read from `path`, in a few words; "" for a readable regular file.

    Pipes and devices are refused because opening or reading one may block forever.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "there is no such file"
    except OSError as error:
        return reason(error)
    if not stat.S_ISREG(mode):
        return os.strerror(errno.EISDIR) if stat.S_ISDIR(mode) else NOT_REGULAR
    return "" if os.access(path, os.R_OK) else os.strerror(errno.EACCES)


def unwritable(target: Path, *, folder: bool) -> str:
    """Why `target`, a file or a folder, cannot be created or written to, in a few words; "" if it can."""
    for place in (target, *target.parents):
        try:
            mode = place.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            return reason(error)
        if place == target and not folder:
            if stat.S_ISDIR(mode):
                return "it is a folder"
            continue
        if not stat.S_ISDIR(mode):
            return f"{place} is not a folder"
        return "" if os.access(place, os.W_OK | os.X_OK) else f"{place} is not writable"
    return ""


def exists(path: Path) -> bool:
    """Whether `path` exists. Raises OSError if that cannot be determined, in every version of Python."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def sameness(folder: Path) -> Sameness:
    """How the file system of `folder`, which may not exist yet, compares paths.

    On macOS, Windows and memory cards, names that differ only in case are the same.
    """
    return _folded if _ignores_case(Path(os.path.realpath(folder))) else str


def _folded(path: Path | str) -> str:
    return unicodedata.normalize("NFC", str(path)).casefold()


def _ignores_case(folder: Path) -> bool:
    """Whether case is ignored, tested on the first existing folder, from `folder` upwards, whose name has letters."""
    for place in (folder, *folder.parents):
        other = place.parent / place.name.swapcase()
        try:
            if other != place and exists(place):
                return other.samefile(place)
        except OSError:
            return False
    return False


def is_folder(path: Path) -> bool:
    """Whether `path` is a folder; also False if that cannot be determined."""
    try:
        return path.is_dir()
    except OSError:
        return False


def reason(error: OSError) -> str:
    """The error's text, without error number and path."""
    return error.strerror or str(error)


def write(target: Path | None, body: bytes) -> None:
    """Writes a file, creating its folder, or to standard output for None. Raises OSError.

    The write is atomic: a temporary file in the same folder is written, synced, and then renamed.
    """
    if target is None:
        _write_to_standard_output(body)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    # Not derived from the target's name, which may already have the maximum length.
    temporary = target.with_name(f".lapsrn-{secrets.token_hex(8)}.part")
    _unfinished.add(temporary)
    try:
        with temporary.open("xb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        _unfinished.discard(temporary)


def _write_to_standard_output(body: bytes) -> None:
    """Writes without a buffer: what it could not write, Python would try to write again at the end, and complain."""
    stream = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)  # the latter with PYTHONUNBUFFERED
    rest = memoryview(body)
    while rest:
        taken = stream.write(rest)  # perhaps a part
        if taken is None:  # a pipe that whoever started this has made non-blocking, and that is full
            select.select((), (stream,), ())
        rest = rest[taken or 0 :]


def discard() -> None:
    """Removes temporary files of other threads, before the process ends without waiting for them."""
    for temporary in list(_unfinished):
        with contextlib.suppress(OSError):
            temporary.unlink()
