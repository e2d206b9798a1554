"""What signals do to the service while it starts, until its server listens for them."""

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
    """From now on SIGTERM, SIGINT and SIGQUIT end the process with 0, and SIGHUP is noted; see `reload_wanted`.

    The system's own way is to end the process with an error, or, where it is the first one of a container, to drop the
    signal, so that nobody hears of it. Also takes what `held_back` has kept from this process.
    """
    for number in _STOP:
        signal.signal(number, _leave)
    for number in _RELOAD:
        signal.signal(number, _note)
    if hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # who inherits that it is ignored never learns how a child ended
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP + _RELOAD)


def reload_wanted() -> bool:
    """Whether a SIGHUP came since `listen`."""
    return _reload_wanted


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """A process that is started meanwhile gets its signals when it calls `listen`."""
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # which multiprocessing starts otherwise, and then lets signals through
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
    """Ends the process, even where a thread hangs in a device driver and would turn the exit into an abort."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError, RuntimeError):  # a full disk costs log lines
            stream.flush()
    os._exit(code)
