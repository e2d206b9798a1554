"""Threads that the system allows."""

import threading

import pytest

from app.errors import StartupError
from app.process import threads


def test_the_required_number_of_threads_runs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    start, before, most = threading.Thread.start, threading.active_count(), 0

    def counted(thread: threading.Thread) -> None:
        nonlocal most
        start(thread)
        most = max(most, threading.active_count() - before)

    monkeypatch.setattr(threading.Thread, "start", counted)
    threads.require(5)
    assert (most, threading.active_count()) == (5, before)


def test_too_few_threads_are_reported_and_none_is_left_running(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the service would end with a traceback once it listens."""
    start, before = threading.Thread.start, threading.active_count()

    def limited(thread: threading.Thread) -> None:
        if threading.active_count() - before == 3:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    with pytest.raises(StartupError, match=r"too few threads; raise the container's pids_limit.* ulimit -v$"):
        threads.require(5)
    assert threading.active_count() == before
