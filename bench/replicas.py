"""How throughput grows with processes that share a device, which one of them cannot keep busy."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from bench import load, processes, simulated_device
from bench.redis_server import RedisServer
from bench.report import Plan, Section
from bench.servers import Server, free_port
from bench.serving import PATH
from model.devices import devices

SIZE = (256, 256)
SERVICE, DEVICE, REDIS, LOAD = "the service", "the simulated device", "Redis", "the load generator"


def measure(plan: Plan) -> Section:
    """Before this machine's GPU, or a simulated one where there is none; the load generator shares the cores."""
    with tempfile.TemporaryDirectory() as folder:
        redis = RedisServer(free_port(), Path(folder))
        redis.start()
        try:
            if devices("auto")[0] == "cpu":
                return _simulated(plan, redis, folder)
            return _real(plan, redis)
        finally:
            redis.stop()


def _simulated(plan: Plan, redis: RedisServer, folder: str) -> Section:
    """One process, then two, and so on up to the cores; at last so many of them, each on a core of its own."""
    clients = 16
    section = Section("replicas", f"Replicas: 256×256 over HTTP before a simulated GPU, {clients} clients")
    alone = 0.0
    cores = len(os.sched_getaffinity(0))
    variants = [(_name(count), _settings(redis, count)) for count in range(1, cores + 1)]
    if cores > 1:
        variants.append((f"{_name(cores)}, pinned", _settings(redis, cores) | {"LAPSRN_PIN_REPLICAS": "true"}))
    for name, settings in variants:
        with Server("bench.simulated_device", "/readyz", settings, (folder,)) as server:
            found, spent = _loaded(server, redis, folder, clients, 1, (2, plan.pick(20, 2)))
        alone = alone or found.per_second
        _show(section, name, found, spent, alone)
    return section


def _real(plan: Plan, redis: RedisServer) -> Section:
    """Powers of two up to half the cores, and one process with two workers; generators share out the clients."""
    import torch

    clients, generators = 64, 4
    gpu = torch.cuda.get_device_name(0)
    section = Section("replicas", f"Replicas: 256×256 over HTTP before one {gpu}, {clients} clients")
    section.notes.append(f"{len(os.sched_getaffinity(0))} cores, {generators} processes of the load generator.")
    alone, end = 0.0, time.monotonic() + 110
    for name, workers, settings in _variants(redis, len(os.sched_getaffinity(0))):
        began = time.monotonic()
        if began > end:
            section.notes.append(f"{name}: left out, as the others took long to start.")
            continue
        with Server("app.main", "/readyz", settings) as server:
            _wait_for_workers(server, workers, began + 150)
            section.add(f"{name}, seconds until all are ready", time.monotonic() - began, "s")
            found, spent = _loaded(server, redis, None, clients, generators, (1, plan.pick(5, 1)))
        alone = alone or found.per_second
        _show(section, name, found, spent, alone)
    return section


def _variants(redis: RedisServer, cores: int) -> Iterator[tuple[str, int, dict[str, str]]]:
    """Names, workers in all, and settings."""
    for power in range(max(1, cores // 2).bit_length()):
        yield _name(1 << power), 1 << power, _settings(redis, 1 << power) | {"LAPSRN_DEVICES": "cuda:0"}
    yield f"{_name(1)}, two workers", 2, _settings(redis, 1) | {"LAPSRN_DEVICES": "cuda:0,cuda:0"}


def _wait_for_workers(server: Server, count: int, end: float) -> None:
    """Waits until all are up: a ready process answers for itself alone. Raises RuntimeError at `end`."""
    while True:
        lines = httpx.get(server.url + "/metrics", timeout=10, trust_env=False).text.splitlines()
        up = sum(line.startswith("lapsrn_worker_up{") and float(line.split()[-1]) == 1 for line in lines)
        if up >= count:
            return
        if time.monotonic() > end:
            raise RuntimeError(f"{up} of {count} workers are up")
        time.sleep(0.2)


def _settings(redis: RedisServer, count: int) -> dict[str, str]:
    return {
        "LAPSRN_REPLICAS": str(count),
        "LAPSRN_REDIS_URL": redis.url,
        "LAPSRN_PORT": "{port}",
        "LAPSRN_LOG_LEVEL": "warning",
    }


def _name(count: int) -> str:
    return f"{count} process{'es' if count > 1 else ''}"


def _loaded(
    server: Server,
    redis: RedisServer,
    folder: str | None,
    clients: int,
    generators: int,
    seconds: tuple[float, float],
) -> tuple[load.Load, dict[str, float]]:
    """Load for a warm-up and for a measurement of `seconds`; its outcome, and who took CPU time."""
    url = server.url + PATH
    load.run_several(url, clients, generators, seconds[0], SIZE)
    before = _cpu_seconds(server, redis, folder)
    found = load.run_several(url, clients, generators, seconds[1], SIZE)
    after = _cpu_seconds(server, redis, folder)
    return found, {who: after[who] - before[who] for who in after} | {LOAD: found.cpu_seconds}


def _show(section: Section, name: str, found: load.Load, spent: dict[str, float], alone: float) -> None:
    section.add(f"{name}, answers a second", found.per_second, "1/s")
    section.add(f"{name}, over one process", found.per_second / alone, "×")
    section.add(f"{name}, p99", 1000 * found.p(0.99), "ms")
    for who, seconds in spent.items():
        section.add(f"{name}, CPU time of an answer, {who}", 1000 * seconds / len(found.times), "ms")
    section.add(f"{name}, cores that these had together", sum(spent.values()) / found.seconds, "")


def _cpu_seconds(server: Server, redis: RedisServer, folder: str | None) -> dict[str, float]:
    """Of each on the server's side; `folder` is that of a simulated device."""
    ours = {SERVICE: server.cpu_seconds(), REDIS: processes.cpu_seconds([redis.process])}
    if folder is None:
        return ours
    device = simulated_device.cpu_seconds(Path(folder))
    return ours | {SERVICE: ours[SERVICE] - device, DEVICE: device}
