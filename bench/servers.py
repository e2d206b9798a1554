"""Servers under measurement: a process each, on a free port of 127.0.0.1, with its CPU time and memory from /proc."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from bench import processes


class Server:
    """`with Server.ours() as server:` answers inside, is ended afterwards."""

    def __init__(
        self,
        module: str,
        ready: str,
        environment: Mapping[str, str],
        arguments: Sequence[str] = (),
        python: str = sys.executable,
    ) -> None:
        """`python -m module`, ready when the path `ready` answers 200. Raises RuntimeError on entering if it dies."""
        self.port = free_port()
        self._command = [python, "-m", module, *(each.format(port=self.port) for each in arguments)]
        self._environment = os.environ | {name: value.format(port=self.port) for name, value in environment.items()}
        self._ready = ready
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self._last_words = b""

    @classmethod
    def ours(cls, **settings: str) -> "Server":
        """The service with its defaults, but for these settings."""
        own = {f"LAPSRN_{name.upper()}": value for name, value in settings.items()}
        return cls("app.main", "/readyz", {"LAPSRN_PORT": "{port}", "LAPSRN_LOG_LEVEL": "warning", **own})

    @classmethod
    def peer(cls) -> "Server":
        """LitServe with the public network and Pillow."""
        return cls("bench.peer_server", "/health", {}, ("{port}",))

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdout=self._log, stderr=self._log, process_group=0
        )
        end = time.monotonic() + 180
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                self._end()
                raise RuntimeError(f"{self._command} did not start: {self._last_words.decode()}")
            time.sleep(0.2)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def process(self) -> int:
        """The number of the process that was started."""
        return self._process.pid

    def cpu_seconds(self) -> float:
        """User and system time of the process and its children so far."""
        return processes.cpu_seconds(processes.family(self.process))

    def memory_mib(self, peak: bool = False) -> float:
        """Resident memory of the process, now or at its highest."""
        status = (Path("/proc") / str(self._process.pid) / "status").read_text().splitlines()
        wanted = "VmHWM" if peak else "VmRSS"
        return next(int(line.split()[1]) for line in status if line.startswith(wanted)) / 1024

    def _answers(self) -> bool:
        try:
            return httpx.get(self.url + self._ready, timeout=5, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def _end(self) -> None:
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(30)
        with contextlib.suppress(ProcessLookupError):  # what the server leaves behind: LitServe's own children
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        with self._log as log:
            log.seek(0)
            self._last_words = log.read()[-2000:]


def free_port() -> int:
    """A port of 127.0.0.1 that is free at the moment."""
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        port: int = each.getsockname()[1]
        return port
