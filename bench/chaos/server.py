"""The service as a process to be mistreated: real weights, faults on command, its vital signs from /proc."""

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.chaos.child import FAULTS, INJECTED
from bench.chaos.wire import exchange
from bench.servers import free_port

HANG_SECONDS = 10.0
"""LAPSRN_HANG_SECONDS of the service."""
_FAULT_SECONDS = 120.0
"""For a batch to come that a fault can be injected into."""
_RESULT_MAX_BYTES = 4 * 1024 * 1024
"""Little, so that finished pictures that are kept as promised are not taken for a leak."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """Resident memory in MiB, threads, and open file handles of the service's process."""

    memory_mib: float
    threads: int
    files: int


class ServiceProcess:
    """`async with ServiceProcess() as service`: up and warm inside, killed afterwards if it did not stop by itself."""

    def __init__(self, settings: Mapping[str, str], log: Path | None = None) -> None:
        """Nothing runs yet. `settings` are variables for it; its output goes to `log`, or to a new file."""
        self.port = 0
        self._settings = settings
        if log is None:
            handle, name = tempfile.mkstemp(prefix="chaos-", suffix=".log")
            os.close(handle)
            log = Path(name)
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._idle: Vitals | None = None

    async def __aenter__(self) -> Self:
        self.port = free_port()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LAPSRN_")}
        environment |= {
            "LAPSRN_PORT": str(self.port),
            "LAPSRN_HANG_SECONDS": str(HANG_SECONDS),
            "LAPSRN_RESULT_MAX_BYTES": str(_RESULT_MAX_BYTES),
            **self._settings,
        }
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bench.chaos.child"),
                env=environment,
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + 120
        while not await self._ready():
            if self._process.returncode is not None or time.monotonic() > end:
                raise SystemExit(f"the service did not start; its log is {self._log}")
            await asyncio.sleep(0.2)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        print(f"the service's log is {self._log}", file=sys.stderr)

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
            leaks = await self.under_way()
            vitals = self.vitals()
            idle = self._idle or vitals
            leaks += [f"{vitals.files} files open, before {idle.files}"] * (vitals.files > idle.files + 4)
            leaks += [f"{vitals.threads} threads, before {idle.threads}"] * (vitals.threads > idle.threads + 4)
            if not leaks or time.monotonic() > end:
                self._idle = idle
                return vitals, leaks
            await asyncio.sleep(0.5)

    async def under_way(self) -> list[str]:
        """What the service is at."""
        values = await self._metrics()
        busy = {name: values[name] for name in ("lapsrn_requests_in_flight", "lapsrn_queue_tiles")}
        return [f"{name} stays at {value}" for name, value in busy.items() if value]

    async def restarts(self) -> float:
        """Workers replaced so far."""
        return (await self._metrics())["lapsrn_worker_restarts_total"]

    def logged(self, text: str) -> int:
        """How often the service's log has `text`."""
        return self._log.read_text().count(text)

    async def inject(self, fault: str) -> None:
        """Injects one of child.FAULTS into the next batch, and waits for that. Raises TimeoutError if none comes."""
        before = self.logged(INJECTED)
        if fault not in FAULTS or self.process.stdin is None:
            raise ValueError(f"{fault} is none of {', '.join(FAULTS)}")
        self.process.stdin.write(f"{fault}\n".encode())
        async with asyncio.timeout(_FAULT_SECONDS):
            while True:
                if self.logged(INJECTED) > before:
                    return
                await asyncio.sleep(0.1)

    async def _metrics(self) -> dict[str, float]:
        text = (await exchange(self.port, "GET", "/metrics")).body.decode()
        lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in lines}

    async def stop_cleanly(self) -> list[str]:
        """SIGTERM; what was wrong with its end, if anything."""
        self.process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(self.process.wait(), 60)
        return [] if code == 0 else [f"exit code {code} after SIGTERM"]
