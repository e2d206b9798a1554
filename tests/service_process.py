"""The service as a process of its own on loopback: with the real weights, or on a network that repeats pixels."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 120.0
REAL = ("-m", "app.main")
FAKE = ("-m", "tests.fake_service")


@dataclass
class Process:
    """A process of the service: its address, its log, and ways to end it."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

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

    def await_readiness(self, status: str) -> None:
        """Until /readyz says this, at most as long as a start may take."""
        end = time.monotonic() + READY_SECONDS
        while httpx.get(f"{self.url}/readyz").json()["status"] != status:
            assert time.monotonic() < end, f"never {status}: {self.log.read_text()}"
            time.sleep(0.02)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float = 60.0) -> int:
        return self.process.wait(timeout=seconds)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def start(log: Path, settings: Mapping[str, str], command: Sequence[str] = REAL, port: int | None = None) -> Process:
    """Starts `python COMMAND` with these settings, on a free port unless one is given. The caller kills it."""
    port = port or free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LAPSRN_")}
    environment |= {f"LAPSRN_{name.upper()}": value for name, value in settings.items()}
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=environment | {"LAPSRN_PORT": str(port)},
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    return Process(process, f"http://127.0.0.1:{port}", log)


@contextmanager
def fake_service(folder: Path, *arguments: str, **settings: str) -> Iterator[Process]:
    """The service on a network that repeats pixels, ready; see tests.fake_service for the arguments."""
    process = start(folder / "service.log", {"decode": "inline"} | settings, (*FAKE, *arguments))
    try:
        yield process.get_ready()
    finally:
        process.kill()
