"""A real process of the service on loopback, with the real weights."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
READY_SECONDS = 120.0


@dataclass
class Process:
    """`python -m app.main`: its address, its log, and ways to end it."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def get_ready(self) -> "Process":
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"the service ended: {self.log.read_text()}")
            try:
                if httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200:
                    return self
            except httpx.TransportError:
                time.sleep(0.1)
            time.sleep(0.1)
        raise AssertionError(f"not ready after {READY_SECONDS} s: {self.log.read_text()}")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float = 60.0) -> int:
        return self.process.wait(timeout=seconds)


Launch = Callable[..., Process]


@pytest.fixture(scope="session")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    """Starts the service; keyword arguments are settings. Whatever still runs at the end is killed."""
    started: list[Process] = []

    def start(**settings: str) -> Process:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        log = tmp_path_factory.mktemp("service") / "log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LAPSRN_")}
        environment |= {f"LAPSRN_{name.upper()}": value for name, value in settings.items()}
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "app.main"],
                cwd=ROOT,
                env=environment | {"LAPSRN_PORT": str(port)},
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        started.append(Process(process, f"http://127.0.0.1:{port}", log))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()


@pytest.fixture(scope="session")
def service(launch: Launch, weights: Path) -> Process:
    """One service for all tests that leave it as it was."""
    return launch(weights=str(weights), client_max_concurrent="1000").get_ready()
