"""What a picture of a megapixel costs besides the network: CPU time, bytes, and Redis' share of them."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import redis

from bench import load
from bench.pictures import jpeg
from bench.processes import cpu_seconds
from bench.redis_server import RedisServer
from bench.report import Plan, Section
from bench.servers import Server, free_port
from bench.serving import PATH

CLIENTS = 4


def measure(plan: Plan) -> Section:
    """Through a device that takes a GPU's time and no CPU time; results are kept in Redis, as with many replicas."""
    side = plan.pick(1024, 64)
    section = Section("megapixel", f"A photograph of {side}×{side}, ×4, before a simulated GPU; results in Redis")
    with tempfile.TemporaryDirectory() as folder:
        store = RedisServer(free_port(), Path(folder))
        store.start()
        try:
            settings = {"LAPSRN_PORT": "{port}", "LAPSRN_REDIS_URL": store.url, "LAPSRN_LOG_LEVEL": "warning"}
            with Server("bench.simulated_device", "/readyz", settings, (folder,)) as server:
                _sizes(section, server.url, side)
                load.run(server.url + PATH, CLIENTS, 0, (side, side))
                before = server.cpu_seconds(), cpu_seconds([store.process])
                found = load.run(server.url + PATH, CLIENTS, plan.pick(20, 1), (side, side))
                after = server.cpu_seconds(), cpu_seconds([store.process])
            answers = len(found.times)
            section.add("answers a second, one process", found.per_second, "1/s")
            section.add("CPU time of an answer, without a network", (after[0] - before[0]) / answers, "s")
            section.add("CPU time of Redis for it", 1000 * (after[1] - before[1]) / answers, "ms")
            _redis(section, store, plan.pick(100, 4), plan.pick(16 << 20, 1 << 20))
        finally:
            store.stop()
    return section


def _sizes(section: Section, url: str, side: int) -> None:
    """The bytes of requests and answers."""
    picture = jpeg(side, side, 0)
    section.add("upload (JPEG)", len(picture) / 1e6, "MB")
    for _ in range(5):  # a result is not kept while Redis is slow to answer
        answer = httpx.post(url + PATH, content=picture, headers={"Content-Type": "image/jpeg"}, timeout=600)
        answer.raise_for_status()
        if "x-upscale-id" in answer.headers:
            break
    section.add("answer, ×4 (PNG)", len(answer.content) / 1e6, "MB")
    other = httpx.get(f"{url}/upscale?level=2&id={answer.headers['x-upscale-id']}", timeout=600)
    other.raise_for_status()
    section.add("kept beside it, ×2 (PNG)", len(other.content) / 1e6, "MB")


def _redis(section: Section, store: RedisServer, times: int, size: int) -> None:
    """What it writes and reads a second, and by its CPU time, which bounds it as it has one thread for commands."""
    value = bytes(size)
    client = redis.Redis.from_url(store.url)
    commands: dict[str, Callable[[], object]] = {
        "writes": lambda: client.set("x", value),
        "reads": lambda: client.get("x"),
    }
    for name, command in commands.items():
        began, before = time.perf_counter(), cpu_seconds([store.process])
        for _ in range(times):
            command()
        seconds, busy = time.perf_counter() - began, cpu_seconds([store.process]) - before
        section.add(f"Redis {name}, values of {size >> 20} MiB", times * size / seconds / 1e9, "GB/s")
        section.add(f"Redis {name}, by its CPU time", times * size / max(busy, 0.01) / 1e9, "GB/s")
