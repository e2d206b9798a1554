"""`python -m bench.scaling`: one process and several, as a table: throughput, cost, and what a kill loses.

Photographs of 256x256 over HTTP, 16 clients on the same cores. Ray's rows need `build/ray-venv`, which `make ray-check`
makes; the one of compose needs Docker, and is measured only when it is asked for (`--only compose`).
"""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import load, machine
from bench.paths import ROOT, WEIGHTS
from bench.processes import command_of, cpu_seconds, family, memory_mib
from bench.redis_server import RedisServer
from bench.report import number
from bench.servers import Server, free_port
from bench.serving import PATH
from deploy.scale_check import CONTAINERS, Scaled
from model.entry import Parser

RAY = ROOT / "build" / "ray-venv" / "bin" / "python"
CLIENTS = 16
SIZE = (256, 256)
_HEAD = ("", "answers/s", "p99, s", "CPU s an answer", "memory, MiB", "killed", "lost, of requests")


@dataclass(frozen=True, slots=True)
class Arrangement:
    """A service that runs: where, its processes, and how to kill a part of it and what that part is called."""

    url: str
    roots: Callable[[], list[int]]
    part: str = ""
    kill: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """One row: `lost` counts what was answered otherwise than with 200, by status, in the run with a kill."""

    name: str
    per_second: float
    p99: float
    cpu: float
    memory: float
    part: str = ""
    lost: dict[str, int] | None = None
    requests: int = 0

    def row(self) -> str:
        """The row of the table in Markdown."""
        numbers = [number(each) for each in (self.per_second, self.p99, self.cpu, self.memory)]
        return "| " + " | ".join([self.name, *numbers, self.part, self._loss()]) + " |"

    def _loss(self) -> str:
        if self.lost is None:
            return ""
        kinds = ", ".join(f"{count} × {status}" for status, count in sorted(self.lost.items()))
        return f"{kinds or 'none'}, of {self.requests}"


def measured(name: str, arrangement: Arrangement, seconds: float) -> Figures:
    """Warms it up, loads it, and loads it again while a part is killed."""
    url = arrangement.url + PATH
    load.run(url, CLIENTS, min(seconds, 3), SIZE)
    before = cpu_seconds(family(*arrangement.roots()))
    found = load.run(url, CLIENTS, seconds, SIZE)
    processes = family(*arrangement.roots())
    cpu, memory = (cpu_seconds(processes) - before) / len(found.times), memory_mib(processes)
    lost, requests = None, 0
    if arrangement.kill is not None:
        counted = _while_killed(url, arrangement.kill, seconds)
        requests = sum(counted.values())
        lost = {status: count for status, count in counted.items() if status != "200"}
    return Figures(name, found.per_second, found.p(0.99), cpu, memory, arrangement.part, lost, requests)


def _while_killed(url: str, kill: Callable[[], None], seconds: float) -> dict[str, int]:
    """How many requests got which status, with a kill after a third of the time."""
    process = subprocess.Popen(load.command(url, CLIENTS, seconds, SIZE), stdout=subprocess.PIPE, text=True)
    time.sleep(seconds / 3)
    kill()
    return load.Load(**json.loads(process.communicate()[0])).statuses


@contextmanager
def one_process() -> Iterator[Arrangement]:
    """The service with its defaults: results and jobs in its own memory."""
    with Server.ours() as server:
        yield Arrangement(server.url, lambda: [server.process])


@contextmanager
def processes(count: int) -> Iterator[Arrangement]:
    """`lapsrn serve --replicas`."""
    with _redis() as (url, redis), Server.ours(replicas=str(count), redis_url=url) as server:

        def kill() -> None:
            replicas = [each for each in family(server.process)[1:] if "spawn_main" in command_of(each)]
            os.kill(replicas[0], signal.SIGKILL)

        yield Arrangement(server.url, lambda: [server.process, redis], "a replica", kill)


@contextmanager
def ray_nodes(count: int) -> Iterator[Arrangement]:
    """The application on nodes of Ray, all on this machine; of several, a whole one is killed."""
    with _redis() as (url, redis):
        environment = {
            "LAPSRN_REDIS_URL": url,
            "LAPSRN_WEIGHTS": str(WEIGHTS),
            "LAPSRN_MORE_WEIGHTS": str(WEIGHTS.parent),
            "LAPSRN_LOG_LEVEL": "warning",
            "PYTHONPATH": str(ROOT),
            "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "deploy.ray.proxy:middlewares",
            "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "50",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",
        }
        with Server("bench.ray_server", "/readyz", environment, ("{port}", str(count)), str(RAY)) as server:

            def kill() -> None:
                every = family(server.process)
                replica = next(each for each in every if command_of(each).startswith("ray::ServeReplica"))
                if count == 1:
                    os.kill(replica, signal.SIGKILL)
                    return
                nodes = (each for each in every if "raylet/raylet" in command_of(each).split(" ", 1)[0])
                os.kill(next(each for each in nodes if replica in family(each)), signal.SIGKILL)

            part = "a node" if count > 1 else "the replica"
            yield Arrangement(server.url, lambda: [server.process, redis], part, kill)


@contextmanager
def compose() -> Iterator[Arrangement]:
    """Containers behind HAProxy, on this machine."""
    docker = Scaled()
    try:
        docker.build_from_debian()
        docker.compose("build", "lapsrn")
        docker.compose(
            "up", "--no-build", "--detach", "--wait", "--wait-timeout", "900", "--scale", f"lapsrn={CONTAINERS}"
        )

        def roots() -> list[int]:
            containers = docker.compose("ps", "--quiet", "lapsrn", "balancer", "redis").split()
            return [int(docker.run("inspect", "--format", "{{.State.Pid}}", each)) for each in containers]

        def kill() -> None:
            docker.run("kill", docker.containers()[0])

        yield Arrangement(f"http://127.0.0.1:{docker.service_port}", roots, "a container", kill)
    finally:
        docker.compose("down", "--volumes", "--remove-orphans", "--timeout", "5", check=False)


@contextmanager
def _redis() -> Iterator[tuple[str, int]]:
    """Its address and its process."""
    with tempfile.TemporaryDirectory() as folder:
        redis = RedisServer(free_port(), Path(folder))
        redis.start()
        try:
            yield redis.url, redis.process
        finally:
            redis.stop()


ARRANGEMENTS: dict[str, tuple[str, Callable[[], contextlib.AbstractContextManager[Arrangement]]]] = {
    "one": ("one process", one_process),
    "two": ("`--replicas 2`", lambda: processes(2)),
    "ray-1": ("Ray, one node", lambda: ray_nodes(1)),
    "ray-2": ("Ray, two nodes", lambda: ray_nodes(2)),
    "compose": (f"compose, {CONTAINERS} containers", compose),
}
DEFAULT = ("one", "two", "ray-1", "ray-2")


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = Parser("bench.scaling", __doc__)
    parser.add_argument("--only", action="append", choices=ARRANGEMENTS, help="this one; may be given again")
    parser.add_argument("--seconds", type=float, default=30, help="of load, twice for each")
    options = parser.parse_args(arguments)
    print(machine.describe().markdown() + "\n")
    print("| " + " | ".join(_HEAD) + " |\n|---|" + "---:|" * 4 + "---|---|", flush=True)
    for name in options.only or DEFAULT:
        label, start = ARRANGEMENTS[name]
        if name.startswith("ray") and not RAY.exists():
            print(f"| {label} | not measured: no build/ray-venv (make ray-check makes it) |", flush=True)
            continue
        with start() as arrangement:
            print(measured(label, arrangement, options.seconds).row(), flush=True)


if __name__ == "__main__":
    main()
