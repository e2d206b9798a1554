"""What the programs of this package share: errors about files are one line."""

from collections.abc import Iterator
from contextlib import contextmanager

from model.weights import WeightsError


@contextmanager
def file_errors(program: str) -> Iterator[None]:
    """Ends `program` with one line and exit code 1 where a file or folder is missing or cannot be used."""
    try:
        yield
    except WeightsError as error:
        raise SystemExit(f"{program}: {error}") from None
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise SystemExit(f"{program}: {reason}") from None
