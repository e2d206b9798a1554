"""Starts threads early, as the system may limit their number."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

from app.errors import StartupError


def started(executor: ThreadPoolExecutor, count: int) -> ThreadPoolExecutor:
    """The executor with all of its `count` threads started: later, the system may refuse to start them.

    Raises StartupError.
    """
    go = Event()
    try:
        for _ in range(count):
            executor.submit(go.wait)
    except RuntimeError as error:
        go.set()
        executor.shutdown(cancel_futures=True)
        raise StartupError(
            "the system allows too few threads; raise the container's pids_limit, systemd's TasksMax=, ulimit -u or, "
            "as each needs memory for its stack, ulimit -v"
        ) from error
    finally:
        go.set()
    return executor


def require(count: int) -> None:
    """Raises StartupError if `count` more threads cannot run at once."""
    started(ThreadPoolExecutor(count), count).shutdown()
