"""Threads that the system allows, also by a limit on processes."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

from app.errors import StartupError


def started(executor: ThreadPoolExecutor, count: int) -> ThreadPoolExecutor:
    """With all its `count` threads: when there is a request for them, the system may allow no more.

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
            "the system allows too few threads; raise the container's pids_limit, systemd's TasksMax= or ulimit -u"
        ) from error
    finally:
        go.set()
    return executor


def require(count: int) -> None:
    """Raises StartupError where `count` more threads may not run at once."""
    started(ThreadPoolExecutor(count), count).shutdown()
