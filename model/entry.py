"""What the programs of this package share: a user's error is one line."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.files import printable
from model.pictures import PictureError
from model.weights import WeightsError


class UsageError(ValueError):
    """What was asked for cannot be done; the message is one line that says what to do."""


@contextmanager
def file_errors(program: str) -> Iterator[None]:
    """Ends `program` with one line and exit code 1 for what its user can mend: files, folders, pictures, settings.

    From then on, standard output takes any text: what its encoding lacks, as of names of files, is escaped.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error does by itself
    try:
        yield
    except (WeightsError, PictureError, UsageError) as error:
        raise SystemExit(f"{program}: {printable(str(error))}") from None
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise SystemExit(f"{program}: {printable(reason)}") from None


def check_output(path: Path | None) -> None:
    """Raises UsageError where the folder of a file to write is missing: before the work, not after it."""
    if path is not None and not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent} for {path.name}; make it first")
