"""Start and end of the program: streams, signals, exit codes, one-line errors."""

import contextlib
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import typer

INTERRUPTED = 130
"""The exit code after Ctrl-C, SIGTERM or SIGHUP."""
_ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""SIGHUP is sent when the terminal is closed."""


def prepare_streams() -> None:
    """Makes standard output and standard error accept any text: characters that their encoding lacks are escaped.

    Also removes COLUMNS=0, which means an unknown width; taken literally, nothing would be printed.
    """
    if os.environ.get("COLUMNS") == "0":
        del os.environ["COLUMNS"]
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error does by itself
    if sys.stderr is None:  # it was closed
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115


def end(run: Callable[[], int], *, hint: str = "", interrupted: int = INTERRUPTED) -> NoReturn:
    """Ends the command with the exit code that `run` returns, or with a one-line message for an expected error.

    While it runs, SIGTERM and SIGHUP act like Ctrl-C. `hint` is added to the message of an interruption; an exit code
    `interrupted` other than INTERRUPTED means that an interruption is the normal way to end the command.
    """
    from app.cli.inputs import PlanError
    from app.errors import StartupError

    try:
        with _interruptible():
            code = run()
    except PlanError as error:
        code = _print_error(str(error), 2)
    except StartupError as error:
        code = _print_error(str(error), 1)
    except KeyboardInterrupt:
        if interrupted != INTERRUPTED:
            leave(_print_error(f"stopped{hint}", interrupted))
        code = _print_error(f"interrupted{hint}", INTERRUPTED)
    raise typer.Exit(code)


def leave(code: int = INTERRUPTED) -> NoReturn:
    """Ends an interrupted process at once, without waiting for threads: one may be loading a network."""
    from app.cli import files

    files.discard()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # closed, or its reader is gone
            stream.flush()
    os._exit(code)


def surroundings_failed(error: OSError) -> int:
    """Prints what no command expects, such as a full disk behind standard output, and returns the exit code."""
    from app.cli import files

    try:
        os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        return _print_error("the working folder has been deleted: change to another one.", 1)
    return _print_error(f"{error.filename}: {files.reason(error)}" if error.filename else files.reason(error), 1)


def _print_error(message: str, code: int) -> int:
    from app.cli.wording import printable

    typer.echo(f"lapsrn: {printable(message)}", err=True)
    return code


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Raises KeyboardInterrupt on a signal, even where asyncio would wait for the running code to return."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in _ENDING}
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:  # as in a background job, or with nohup
                signal.signal(number, interrupt)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
