"""What size of core, and how many in a batch, is fastest, one thread a core."""

import multiprocessing
import statistics
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection

import numpy as np

from app.build import cores, open_model
from app.settings import Settings
from bench.arithmetic import useful_flops
from bench.machine import describe
from bench.report import Plan, Section
from model.arithmetic import tile_flops
from model.checkpoint import load_weights

BATCHES = (
    (16, 16, 1),
    (16, 16, 16),
    (32, 32, 1),
    (32, 32, 4),
    (32, 32, 16),
    (48, 48, 1),
    (48, 48, 4),
    (64, 64, 1),
    (64, 64, 4),
    (96, 96, 1),
    (128, 128, 1),
    (128, 128, 2),
)
"""(rows and columns of a core, tiles in a batch)."""
C_BATCHES = (
    (16, 18, 1),
    (32, 34, 1),
    (64, 34, 1),
    (64, 66, 1),
    (64, 64, 1),
    (128, 34, 1),
    (128, 66, 1),
    (128, 98, 1),
    (128, 130, 1),
    (128, 128, 1),
    (256, 130, 1),
    (128, 258, 1),
    (256, 258, 1),
)
"""The same for the kernels in C, which compute tiles one by one."""


def measure(plan: Plan) -> Section:
    """CPU microseconds of one thread per source pixel, every core at work; lower is better."""
    section = Section("tiles", "Tiles: one batch at a time in one process for each core")
    batches: Sequence[tuple[int, int, int]] = C_BATCHES if describe().backend != "torch" else BATCHES
    batches = batches[: plan.pick(len(batches), 2)]
    config = load_weights(Settings().weights)[0].config
    context = multiprocessing.get_context("spawn")
    pipes = []
    for _ in range(cores()):
        pipe, other = context.Pipe()
        context.Process(target=_run, args=(other,), daemon=True).start()
        pipes.append(pipe)
    rounds = plan.pick(3, 1)
    times: dict[tuple[int, int, int], list[float]] = {batch: [] for batch in batches}
    for _ in range(rounds):
        for batch in batches:
            for pipe in pipes:
                pipe.send(batch)
            times[batch] += [float(pipe.recv()) for pipe in pipes]
    for pipe in pipes:
        pipe.send(None)
    for (height, width, count), found in times.items():
        pixel = 1e6 * statistics.median(found) / (count * height * width)
        surplus = 100 * (tile_flops(config, height, width) / useful_flops(config, height, width) - 1)
        name = f"{count} of {height} rows by {width} columns (margins add {surplus:.0f}% of arithmetic)"
        section.add(name, pixel, "CPU µs/pixel")
    return section


def _run(pipe: Connection) -> None:
    model = next(iter(open_model(Settings(), None).factories[0]().values()))
    margin = model.info.window_margin
    warm = set()
    while (batch := pipe.recv()) is not None:
        height, width, count = batch
        shape = (count, height + 2 * margin, width + 2 * margin)
        tiles = np.random.default_rng(0).random(shape, dtype=np.float32)
        if batch not in warm:
            model.run(tiles, 4)
            warm.add(batch)
        began, cpu, runs = time.perf_counter(), time.process_time(), 0
        while runs < 2 or time.perf_counter() - began < 0.3:
            model.run(tiles, 4)
            runs += 1
        pipe.send((time.process_time() - cpu) / runs)
