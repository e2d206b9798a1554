"""Thumbnails while four other clients post pictures of four megapixels."""

import statistics
import subprocess
import threading
import time

import numpy as np

from app.build import open_model
from app.engine import ModelFactory
from app.engine.batch import BatchLimit
from app.engine.tiles import Shape
from app.settings import Settings
from bench import load
from bench.report import Plan, Section, milliseconds
from bench.servers import Server
from bench.serving import PATH

CLIENTS = 4
THUMBNAIL = 64


def measure(plan: Plan) -> Section:
    """The thumbnails' 95th percentile in units of a large tile's batch; the large pictures are never waited for."""
    side, window = plan.pick(2048, 128), plan.pick(30, 1)
    section = Section("mixed", f"Mixed load: thumbnails of {THUMBNAIL}×{THUMBNAIL} while {CLIENTS} post {side}×{side}")
    batch = statistics.median(_batch_seconds(plan.pick(5, 1)))
    with Server.ours() as server:
        alone = load.run(server.url + PATH, 1, plan.pick(5, 0), (THUMBNAIL, THUMBNAIL))
        command = load.command(server.url + PATH, CLIENTS, 600, (side, side), first=1000)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as heavy:
            try:
                time.sleep(plan.pick(6, 2))  # decoded, cut and queued by then
                busy = load.run(server.url + PATH, 1, window, (THUMBNAIL, THUMBNAIL))
                if heavy.poll() is not None:
                    raise RuntimeError("the large pictures ended before the thumbnails did")
            finally:
                heavy.kill()
    own, late = alone.p(0.5), busy.p(0.95)
    section.add("a batch of the large pictures, every worker busy", 1000 * batch, "ms")
    section.add("a thumbnail alone, median", 1000 * own, "ms")
    section.add("a thumbnail under load, median", milliseconds(busy.times), "ms")
    section.add(f"a thumbnail under load, p95 of {len(busy.times)}", 1000 * late, "ms")
    section.add("p95 less its own time, in batches", (late - own) / batch, "batches", "≤ 3")
    return section


def _batch_seconds(runs: int) -> list[float]:
    """One full batch of the largest cores on every worker at the same time, as the engine would run them."""
    source = open_model(Settings(), None)
    config = source.engine
    edges = config.tile_sizes(4)
    largest = Shape(edges.heights[-1], edges.widths[-1], 4)
    count = BatchLimit(config)(largest)
    times: list[float] = []
    ready = threading.Barrier(len(source.factories))

    def work(build: ModelFactory) -> None:
        model = next(iter(build().values()))
        margin = model.info.window_margin
        shape = (count, largest.height + 2 * margin, largest.width + 2 * margin)
        tiles = np.random.default_rng(0).random(shape, dtype=np.float32)
        model.run(tiles, 4)
        ready.wait()
        for _ in range(runs):
            began = time.perf_counter()
            model.run(tiles, 4)
            times.append(time.perf_counter() - began)

    threads = [threading.Thread(target=work, args=(build,)) for build in source.factories]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times
