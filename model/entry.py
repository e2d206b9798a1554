"""What the programs of this package share: a user's mistake ends them with one line, not a traceback."""

import argparse
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from model.files import printable
from model.pictures import PictureError
from model.weights import WeightsError


class UsageError(ValueError):
    """What was asked for cannot be done; the message is one line that says what to do instead."""


class Parser(argparse.ArgumentParser):
    """The arguments of `python -m MODULE`: help keeps the docstring's lines, and a wrong argument ends with one line.

    By itself, argparse names the file, which cannot be run by that name, and lists every option before the error.
    """

    def __init__(self, module: str, docstring: str | None) -> None:
        super().__init__(
            prog=f"python -m {module}", description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter
        )

    def error(self, message: str) -> NoReturn:
        """Exit code 2."""
        self.exit(2, f"{self.prog}: {printable(message)}; {self.prog} --help lists all arguments\n")


@contextmanager
def file_errors(program: str) -> Iterator[None]:
    """Ends `program` with one line and exit code 1 for what its user can fix: files, folders, pictures, settings.

    Ctrl-C ends it with one line, too, and 130, as a shell expects.
    From then on, standard output takes any text: characters that its encoding lacks, as in file names, are escaped.
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
    except KeyboardInterrupt:
        print(f"\n{program}: interrupted", file=sys.stderr)
        raise SystemExit(130) from None


def check_output(path: Path | None, *suffixes: str) -> None:
    """Raises UsageError, before any work, if a file cannot be written or its name does not end in one of `suffixes`."""
    if path is None:
        return
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent} for {path.name}; make it first")
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file in it")
    if suffixes and path.suffix.lower() not in suffixes:
        raise UsageError(f"{path} has to end in {' or '.join(suffixes)}")


def at_least(least: int) -> Callable[[str], int]:
    """For argparse: parses whole numbers of at least `least`."""

    def parse(text: str) -> int:
        if (value := int(text)) < least:
            raise argparse.ArgumentTypeError(f"{value} is not allowed; it must be at least {least}")
        return value

    parse.__name__ = "int"  # argparse names this type if the text is not a number
    return parse


def strength(text: str) -> float:
    """For argparse: parses a strength of clean-up, 0 to 1."""
    if not 0 <= (value := float(text)) <= 1:
        raise argparse.ArgumentTypeError(f"the strength is {value:g}; give one from 0 to 1")
    return value


strength.__name__ = "float"  # argparse names this type if the text is not a number


def jpeg_quality(text: str) -> int:
    """For argparse: parses a JPEG quality, 1 to 100."""
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not a JPEG quality; give 1 to 100")
    return int(text)
