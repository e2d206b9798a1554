"""Measure 11: how throughput grows with processes beside a device that one of them cannot keep busy."""

import os
import tempfile
from pathlib import Path

from bench import load, processes, simulated_device
from bench.redis_server import RedisServer
from bench.report import Plan, Section
from bench.servers import Server, free_port
from bench.serving import PATH

CLIENTS = 16
SIZE = (256, 256)
SERVICE, DEVICE, REDIS, LOAD = "the service", "the simulated device", "Redis", "the load generator"


def measure(plan: Plan) -> Section:
    """One process, then two, and so on up to the cores; the load generator shares them."""
    section = Section("replicas", "Replicas: 256×256 over HTTP before a simulated GPU, 16 clients")
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        redis = RedisServer(free_port(), Path(folder))
        redis.start()
        try:
            alone = 0.0
            for count in range(1, cores + 1):
                settings = {"LAPSRN_REPLICAS": str(count), "LAPSRN_REDIS_URL": redis.url, "LAPSRN_PORT": "{port}"}
                quiet = {"LAPSRN_LOG_LEVEL": "warning"}
                with Server("bench.simulated_device", "/readyz", settings | quiet, (folder,)) as server:
                    load.run(server.url + PATH, CLIENTS, 2, SIZE)
                    before = _cpu_seconds(server, redis, folder)
                    found = load.run(server.url + PATH, CLIENTS, plan.pick(20, 2), SIZE)
                    spent = _cpu_seconds(server, redis, folder)
                spent = {who: spent[who] - before[who] for who in spent} | {LOAD: found.cpu_seconds}
                alone = alone or found.per_second
                name = f"{count} process{'es' if count > 1 else ''}"
                section.add(f"{name}, answers a second", found.per_second, "1/s")
                section.add(f"{name}, over one process", found.per_second / alone, "×")
                section.add(f"{name}, p99", 1000 * found.p(0.99), "ms")
                for who, seconds in spent.items():
                    section.add(f"{name}, CPU time of an answer, {who}", 1000 * seconds / len(found.times), "ms")
                section.add(f"{name}, cores that these had together", sum(spent.values()) / found.seconds, "")
        finally:
            redis.stop()
    return section


def _cpu_seconds(server: Server, redis: RedisServer, folder: str) -> dict[str, float]:
    """Of each on the server's side."""
    device = simulated_device.cpu_seconds(Path(folder))
    return {SERVICE: server.cpu_seconds() - device, DEVICE: device, REDIS: processes.cpu_seconds([redis.process])}
