"""Signal handling while the service starts, until its server installs its own handlers."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

_STOP = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGQUIT") if hasattr(signal, name))
_RELOAD = tuple(getattr(signal, name) for name in ("SIGHUP",) if hasattr(signal, name))
_reload_wanted = False


def listen() -> None:
    """From now on, SIGTERM, SIGINT and SIGQUIT end the process with 0, and SIGHUP is recorded; see `reload_wanted`.

    By default, they would end the process with an error or, if it is the first one of a container, be ignored. Also
    delivers signals that `held_back` has blocked.
    """
    for number in _STOP:
        signal.signal(number, _leave)
    for number in _RELOAD:
        signal.signal(number, _note)
    if hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if ignored (inherited), exit codes of children are lost
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP + _RELOAD)


def reload_wanted() -> bool:
    """Whether SIGHUP has been received since `listen`."""
    return _reload_wanted


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Blocks signals for processes that are started in the block, until they call `listen`."""
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # otherwise multiprocessing starts it meanwhile, which unblocks signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP + _RELOAD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave(number: int, frame: FrameType | None) -> None:
    leave(0)


def _note(number: int, frame: FrameType | None) -> None:
    global _reload_wanted
    _reload_wanted = True


def leave(code: int) -> NoReturn:
    """Ends the process, even if a thread hangs in a device driver, which would turn a normal exit into an abort."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError, RuntimeError):  # a full disk costs log lines
            stream.flush()
    os._exit(code)
