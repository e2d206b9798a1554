"""Signals during the start of the service: none is lost, and none ends it with an error."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from app.process import early_signals
from tests.service_process import FAKE, REAL, Process, start

pytestmark = pytest.mark.server

SECONDS = 60.0
COMMANDS = {"python -m app.main": REAL, "lapsrn serve": ("-m", "app.cli", "serve")}


class Keys:
    """A file of API keys that is a pipe, so that reading it blocks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        os.mkfifo(path)

    def await_reader(self, service: Process) -> int:
        """A descriptor to write to, once the service reads; it reads from another pipe the next time."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and service.process.poll() is None:
            with suppress(OSError):  # nobody reads yet
                descriptor = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
                self._path.unlink()
                os.mkfifo(self._path)
                return descriptor
            time.sleep(0.01)
        raise AssertionError(f"nobody read the keys: {service.log.read_text()}")


@contextmanager
def starting(folder: Path, command: tuple[str, ...]) -> Iterator[tuple[Process, Keys]]:
    """A service that waits for its API keys."""
    path = folder / "keys.json"
    keys = Keys(path)
    service = start(folder / "service.log", {"api_keys_file": str(path), "decode": "inline"}, command)
    try:
        yield service, keys
    finally:
        service.kill()


def answer(descriptor: int) -> None:
    os.write(descriptor, b"[]")
    os.close(descriptor)


def told_to_stop(service: Process, number: signal.Signals) -> int:
    """The status that it ends with.

    Told again and again: Python hears of a signal that comes just before a system call once that is over, and reading
    the keys never is, unless another signal interrupts it.
    """
    end = time.monotonic() + SECONDS
    while True:
        service.signal(number)
        try:
            return service.wait(1)
        except subprocess.TimeoutExpired:
            assert time.monotonic() < end, service.log.read_text()


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_service_stopped_during_its_start_exits_with_0(
    tmp_path: Path, number: signal.Signals, command: tuple[str, ...]
) -> None:
    with starting(tmp_path, command) as (service, keys):
        reader = keys.await_reader(service)
        assert told_to_stop(service, number) == 0, service.log.read_text()
        os.close(reader)


def test_api_keys_are_read_again_after_a_sighup_during_the_start(tmp_path: Path) -> None:
    with starting(tmp_path, FAKE) as (service, keys):
        settings = keys.await_reader(service)
        service.signal(signal.SIGHUP)
        answer(settings)
        answer(keys.await_reader(service))  # what the service begins with
        answer(keys.await_reader(service))
        service.get_ready()
        service.signal(signal.SIGTERM)
        assert service.wait() == 0, service.log.read_text()


def listen_and_end() -> None:
    """A process that gets SIGTERM before it handles signals."""
    early_signals.listen()
    os._exit(3)


def test_a_child_process_receives_held_back_signals_once_it_handles_them() -> None:
    process = multiprocessing.get_context("spawn").Process(target=listen_and_end)
    with early_signals.held_back():
        process.start()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGTERM)
    process.join(SECONDS)
    assert process.exitcode == 0


def listen_and_ask() -> None:
    """A process that inherits that the ends of children are ignored."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    early_signals.listen()
    os._exit(subprocess.run([sys.executable, "-c", "raise SystemExit(7)"]).returncode)


def test_exit_statuses_of_children_are_known_whatever_the_parent_ignored() -> None:
    process = multiprocessing.get_context("spawn").Process(target=listen_and_ask)
    process.start()
    process.join(SECONDS)
    assert process.exitcode == 7
