"""Threads that the system allows, also by a limit on processes."""

from threading import Event, Thread

from app.errors import StartupError

TOO_FEW = "the system allows too few threads; raise the container's pids_limit, systemd's TasksMax= or ulimit -u"


def require(count: int) -> None:
    """Raises StartupError where `count` more threads may not run at once."""
    go, started = Event(), list[Thread]()
    try:
        for _ in range(count):
            thread = Thread(target=go.wait)
            thread.start()
            started.append(thread)
    except RuntimeError as error:
        raise StartupError(TOO_FEW) from error
    finally:
        go.set()
        for thread in started:
            thread.join()
