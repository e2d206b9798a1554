"""A real process of the service on loopback, with the real weights."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.service_process import Process, start

Launch = Callable[..., Process]


@pytest.fixture(scope="session")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    """Starts the service; keyword arguments are settings. Whatever still runs at the end is killed."""
    started: list[Process] = []

    def launched(**settings: str) -> Process:
        started.append(start(tmp_path_factory.mktemp("service") / "log", settings))
        return started[-1]

    yield launched
    for each in started:
        each.kill()


@pytest.fixture(scope="session")
def service(launch: Launch, weights: Path) -> Process:
    """One service for all tests that leave it as it was."""
    return launch(weights=str(weights), client_max_concurrent="1000").get_ready()
