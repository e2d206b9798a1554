"""The service as a process to be mistreated: real weights, workers that die on SIGUSR1, its vital signs from /proc."""

import asyncio
import functools
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from app.engine import TileModel
from bench.wire import exchange

Tiles = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Vitals:
    """Resident memory in MiB, threads, and open file handles of the service's process."""

    memory_mib: float
    threads: int
    files: int


class ServiceProcess:
    """`async with ServiceProcess() as service`: up and warm inside, killed afterwards if it did not stop by itself."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self.port = 0
        self._log = tempfile.NamedTemporaryFile(prefix="chaos-", suffix=".log", delete=False)  # noqa: SIM115
        self._process: asyncio.subprocess.Process | None = None
        self._idle: Vitals | None = None

    async def __aenter__(self) -> Self:
        self.port = _free_port()
        environment = os.environ | {"LAPSRN_PORT": str(self.port), "LAPSRN_HOST": "127.0.0.1"}
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.chaos_server", env=environment, stdout=self._log, stderr=self._log
        )
        end = time.monotonic() + 120
        while not await self._ready():
            if self._process.returncode is not None or time.monotonic() > end:
                raise SystemExit(f"the service did not start; its log is {self._log.name}")
            await asyncio.sleep(0.2)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        print(f"the service's log is {self._log.name}", file=sys.stderr)

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The running process."""
        if self._process is None:
            raise RuntimeError("the service was not started")
        return self._process

    async def _ready(self) -> bool:
        try:
            return (await exchange(self.port, "GET", "/readyz", wait=5)).status == 200
        except (OSError, EOFError, TimeoutError):
            return False

    def vitals(self) -> Vitals:
        """As /proc has them now."""
        folder = Path("/proc") / str(self.process.pid)
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        memory = int(status["VmRSS"].split()[0]) / 1024
        return Vitals(memory, int(status["Threads"]), sum(1 for _ in (folder / "fd").iterdir()))

    async def settled(self, wait: float = 60) -> tuple[Vitals, list[str]]:
        """Vital signs once nothing is under way, and what has leaked since the first time this was asked."""
        end = time.monotonic() + wait
        while True:
            text = (await exchange(self.port, "GET", "/metrics")).body.decode()
            values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
            busy = {name: float(values[name]) for name in ("lapsrn_requests_in_flight", "lapsrn_queue_tiles")}
            vitals = self.vitals()
            idle = self._idle or vitals
            leaks = [f"{name} stays at {value}" for name, value in busy.items() if value]
            leaks += [f"{vitals.files} files open, before {idle.files}"] * (vitals.files > idle.files + 4)
            leaks += [f"{vitals.threads} threads, before {idle.threads}"] * (vitals.threads > idle.threads + 4)
            if not leaks or time.monotonic() > end:
                self._idle = idle
                return vitals, leaks
            await asyncio.sleep(0.5)

    def kill_worker(self) -> None:
        """The next batch that is run kills its worker's thread."""
        self.process.send_signal(signal.SIGUSR1)

    async def stop_cleanly(self) -> list[str]:
        """SIGTERM; what was wrong with its end, if anything."""
        self.process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(self.process.wait(), 60)
        return [] if code == 0 else [f"exit code {code} after SIGTERM"]


class Mortal:
    """A TileModel in front of the real one, whose thread dies when `doom` is set; the doom is then over."""

    def __init__(self, build: Callable[[], TileModel], doom: threading.Event) -> None:
        """Builds the real model, in the worker's thread."""
        self._real = build()
        self._doom = doom
        self.name, self.device, self.dtype = self._real.name, self._real.device, self._real.dtype
        self.margin, self.scales = self._real.margin, self._real.scales

    def warm_up(self, shapes: Sequence[tuple[int, int, int]]) -> None:
        """As the real one."""
        self._real.warm_up(shapes)

    def run(self, tiles: Tiles, scale: int, *, full_precision: bool = False) -> dict[int, Tiles]:
        """The real model's answer, or death."""
        if self._doom.is_set():
            self._doom.clear()
            raise SystemExit("chaos")
        return self._real.run(tiles, scale, full_precision=full_precision)


def _free_port() -> int:
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        port: int = each.getsockname()[1]
        return port


def main() -> int:
    """The child: the service as `lapsrn serve` builds it, with workers that SIGUSR1 kills."""
    from app.api.server import listen, run_server
    from app.main import create_app, load_settings, open_model

    doom = threading.Event()

    def die(number: int, frame: FrameType | None) -> None:
        doom.set()

    signal.signal(signal.SIGUSR1, die)
    settings = load_settings()
    factories = open_model(settings, None).factories
    app = create_app(settings, [functools.partial(Mortal, build, doom) for build in factories])
    return run_server(app, listen(settings.host, settings.port), None, None)


if __name__ == "__main__":
    sys.exit(main())
