"""Time per megapixel, memory at 4 megapixels, and memory over a thousand requests; all of a real server."""

import statistics
import time

from bench import load
from bench.report import Plan, Section
from bench.servers import Server
from bench.serving import PATH

SIZES = ((256, 256, 5), (512, 512, 3), (1024, 1024, 1), (2048, 2048, 1))
"""(height, width, runs), up to the largest picture that is accepted by default."""
MIXED = tuple((height, width) for height in (16, 24, 40, 64) for width in (17, 32, 48, 72))


def measure(plan: Plan) -> Section:
    """Whole requests, bytes to bytes."""
    section = Section("growth", "Growth: whole requests over HTTP, JPEG in, PNG at ×2 and ×4 made")
    sizes = ((32, 32, 1), (64, 64, 1)) if plan.quick else SIZES
    per_megapixel = []
    for group in (sizes[:-1], sizes[-1:]):  # the largest meets a fresh service, which keeps no results of others
        with Server.ours() as server:
            load.run(server.url + PATH, 1, 0, sizes[0][:2])
            idle = server.memory_mib()
            for height, width, runs in group:
                before = server.cpu_seconds()
                times = [load.run(server.url + PATH, 1, 0, (height, width)).p(0.5) for _ in range(runs)]
                megapixels = height * width / 1e6
                per_megapixel.append((server.cpu_seconds() - before) / runs / megapixels)
                name = f"{megapixels:.2f} megapixels in"
                section.add(f"{name}, median of {runs}", statistics.median(times) / megapixels, "s/MP")
                section.add(f"{name}, CPU time", per_megapixel[-1], "s/MP")
            peak = server.memory_mib(peak=True)
    spread = 100 * (max(per_megapixel) / min(per_megapixel) - 1)
    section.add("dearest size over cheapest, CPU time per megapixel", spread, "%", "≤ 20")
    height, width, _ = sizes[-1]
    output = height * width * 16 * 3 / 2**20
    section.add("memory after one small request", idle, "MiB")
    section.add(f"peak memory of the process with {height}×{width} in", peak, "MiB")
    section.add("peak above the raw output", peak - output, "MiB", "≤ 600")
    _leaks(section, plan)
    return section


def _leaks(section: Section, plan: Plan) -> None:
    """Memory after some mixed requests and after many more; the store of results is small, so it is full early."""
    done, memory = 0, []
    goals = (4, 8, 12) if plan.quick else (200, 1200, 4000)
    with Server.ours(result_max_bytes=str(4 << 20)) as server:
        for goal in goals:
            while done < goal:
                found = load.run(server.url + PATH, min(40, goal - done), plan.pick(2, 0), *MIXED)
                done += len(found.times)
            time.sleep(0.2)
            memory.append(server.memory_mib())
            section.add(f"memory after {done} mixed requests", memory[-1], "MiB")
    section.add("growth over a thousand after the first", 100 * (memory[1] / memory[0] - 1), "%", "none")
    section.add("growth after that", 100 * (memory[2] / memory[1] - 1), "%", "none")
