"""CPU seconds of one 256x256 request by stage, and the share that is not the network."""

import asyncio
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.build import build_codec, open_model
from app.engine import Engine, ModelFactory, TileModel
from app.options import UpscaleOptions
from app.settings import Settings
from bench import load
from bench.pictures import jpeg
from bench.report import Plan, Section
from bench.servers import Server
from bench.serving import PATH

Tiles = NDArray[np.float32]


class Clocked:
    """A TileModel that adds up the CPU time of the threads that run it."""

    lock = threading.Lock()
    seconds = 0.0

    def __init__(self, real: TileModel) -> None:
        """`real` is the one to count for."""
        self._real = real
        self.info = real.info

    def warm_up(self, shapes: Sequence[tuple[int, int, int]]) -> None:
        """As the real one."""
        self._real.warm_up(shapes)

    def run(self, tiles: Tiles, scale: int, **options: Any) -> dict[int, Tiles]:
        """As the real one."""
        began = time.thread_time()
        try:
            return self._real.run(tiles, scale, **options)
        finally:
            with Clocked.lock:
                Clocked.seconds += time.thread_time() - began


def measure(plan: Plan) -> Section:
    """Stages in this process, and the whole in a real server's process; what is left over is HTTP and the rest."""
    side, runs = plan.pick(256, 32), plan.pick(5, 1)
    section = Section("stages", f"CPU time of one {side}×{side} JPEG, upscaled to PNG at ×2 and ×4, by stage")
    found = asyncio.run(_in_process(jpeg(side, side), runs, plan))
    stages = {name: statistics.median(times) for name, times in found.items()}
    whole = sum(stages.values())
    if not plan.quick:
        with Server.ours(result_max_bytes=str(64 << 20)) as server:
            load.run(server.url + PATH, 1, 0, (side, side))
            before = server.cpu_seconds()
            served = load.run(server.url + PATH, 1, 8, (side, side))
            whole = (server.cpu_seconds() - before) / len(served.times)
        stages["HTTP, store, event loop (the rest)"] = max(0.0, whole - sum(stages.values()))
    for name, seconds in stages.items():
        section.add(name, 1000 * seconds, "ms")
    section.add("whole request", 1000 * whole, "ms")
    section.add("share that is not the network", 100 * (1 - stages["network"] / whole), "%", "≤ 35")
    return section


def _clocked(build: ModelFactory) -> dict[str, TileModel]:
    return {name: Clocked(model) for name, model in build().items()}


async def _in_process(picture: bytes, runs: int, plan: Plan) -> dict[str, list[float]]:
    settings = Settings()
    source = open_model(settings, None)
    codec = build_codec(settings)
    config = source.engine
    factories = list(source.factories)
    if plan.quick:  # little to warm up
        config, factories = replace(config, tile_widths=(32,), max_batch_tiles=1), factories[:1]
    models: list[ModelFactory] = [partial(_clocked, build) for build in factories]
    found: dict[str, list[float]] = {}

    def note(name: str, seconds: float) -> None:
        found.setdefault(name, []).append(seconds)

    async with Engine(models, config) as engine:
        for run in range(runs + 1):
            if run == 1:
                found.clear()  # the first run was a warm-up
            began = time.process_time()
            decoded = codec.decode(picture, UpscaleOptions(scale=4))
            note("decode", time.process_time() - began - decoded.split_seconds)
            note("split", decoded.split_seconds)
            Clocked.seconds, began = 0.0, time.process_time()
            outputs = await engine.upscale(list(decoded.frames[0].planes), scale=4, client="bench")
            note("network", Clocked.seconds)
            note("tiles and scheduling", max(0.0, time.process_time() - began - Clocked.seconds))
            merged = written = 0.0
            for level in (2, 4):
                began = time.process_time()
                planes = [[plane[level] for plane in outputs]]
                encoder = codec.encoder(decoded, level, UpscaleOptions())
                encoder.finish(planes)
                cpu = time.process_time() - began
                share = encoder.merge_seconds / (encoder.merge_seconds + encoder.encode_seconds)
                merged, written = merged + cpu * share, written + cpu * (1 - share)
            note("merge", merged)
            note("PNG", written)
    return found
