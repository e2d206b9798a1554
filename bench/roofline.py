"""The share of this machine's best convolution rate that the served path attains on its own arithmetic."""

import multiprocessing
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection

import numpy as np
import torch
from torch.nn import functional as F

from app.build import cores, engine_config
from app.settings import Settings
from bench.arithmetic import engine_flops, useful_flops
from bench.contestants import Contestant
from bench.machine import Machine, describe
from bench.report import Plan, Section
from model.backends.amx.amx import AmxNetwork
from model.backends.registry import by_name
from model.backends.torch_network import torch_dtype
from model.checkpoint import load_weights, parameters_of
from model.folding import fold
from model.network import LapSRN, LapSRNConfig

SIDES = (32, 64, 128, 256)
MATRIX_SIDES = (256, 512, 1024)
WINOGRAD_GAIN = 4
"""Products of a direct 3x3 convolution for each of F(4x4, 3x3)."""


def measure(plan: Plan) -> Section:
    """Convolutions and the served path in turn, so that both see the same machine."""
    section = Section(
        "roofline", "Roofline: the best rate of a 64→64 3×3 convolution, and the served path's share of it"
    )
    machine = describe()
    _, info = load_weights(Settings().weights)
    side, runs = plan.pick(256, 48), plan.pick(5, 2)
    rates: list[dict[str, float]] = []
    times = []
    with Contestant("served") as contestant:
        for _ in range(runs):
            rates.append(convolution_rates(machine, plan.pick(9, 2), SIDES[: plan.pick(4, 1)]))
            times.append(contestant.seconds(side, side)[0])
    found = {name: statistics.median(each[name] for each in rates) for name in rates[0]}
    products = found.pop("products", None)
    rate, seconds = max(found.values()), statistics.median(times)
    useful = useful_flops(info.config, side, side)
    backend = by_name(machine.backend)
    engine = engine_config(backend.tiling(machine.device))
    served = replace(info, window_margin=backend.window_margin(info.config))
    computed = engine_flops(served, engine, side, side, cores())
    for name, best in found.items():
        section.add(
            f"best convolution rate, {name}, one thread on each of {machine.cores} cores", best / 1e9, "GFLOP/s"
        )
    section.add(f"served {side}×{side}, rate without the margins' arithmetic", useful / seconds / 1e9, "GFLOP/s")
    section.add("share, margins not counted as work", 100 * useful / seconds / rate, "%", "≥ 70")
    section.add("share, margins counted as work", 100 * computed / seconds / rate, "%")
    if products is not None:
        limit = WINOGRAD_GAIN * products
        section.add(
            f"best rate of matrix products in float32, one thread on each of {machine.cores} cores",
            products / 1e9,
            "GFLOP/s",
        )
        section.add(
            "share of F(4×4)'s limit, four times that, margins not counted as work", 100 * useful / seconds / limit, "%"
        )
        section.add("share of F(4×4)'s limit, margins counted as work", 100 * computed / seconds / limit, "%", "≥ 65")
    section.notes.append(
        "Arithmetic is a direct convolution's, from the network's config. Winograd kernels need less than that, "
        "so their share can pass 100%."
    )
    return section


def convolution_rates(machine: Machine, runs: int, sides: tuple[int, ...]) -> dict[str, float]:
    """Operations per second of 64→64 3x3 convolutions, summed over one process with one thread for each core.

    Each process takes the best median over sizes and memory layouts, of oneDNN's and, where it serves, of amx.c's.
    """
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for _ in range(cores()):
        pipe, other = context.Pipe()
        process = context.Process(target=_convolve, args=(machine, runs, sides, other))
        process.start()
        pipes.append(pipe)
        processes.append(process)
    rates: list[dict[str, float]] = [pipe.recv() for pipe in pipes]
    for process in processes:
        process.join()
    return {name: sum(rate[name] for rate in rates) for name in rates[0]}


def _convolve(machine: Machine, runs: int, sides: tuple[int, ...], pipe: Connection) -> None:
    torch.set_num_threads(1)
    with torch.inference_mode():
        rates = {"oneDNN": max(_onednn(machine.dtype, side, runs) for side in sides)}
        if machine.backend == "amx":
            rates["amx.c"] = max(_amx(side, runs) for side in sides)
        if machine.backend.startswith("winograd"):
            rates["products"] = max(_products(side, runs) for side in MATRIX_SIDES)
    pipe.send(rates)


def _onednn(dtype: str, side: int, runs: int) -> float:
    """One convolution of a square, in the better memory layout."""
    kind, times = torch_dtype(dtype), []
    for layout in (torch.channels_last, torch.contiguous_format):
        features = torch.randn(1, 64, side + 2, side + 2).to(kind, memory_format=layout)
        weight = torch.randn(64, 64, 3, 3).to(kind, memory_format=layout)
        times.append(_median(partial(F.conv2d, features, weight), runs))
    return 2 * 9 * 64 * 64 * side**2 / min(times)


def _products(side: int, runs: int) -> float:
    """Of square matrices, in float32."""
    one, other = torch.randn(2, side, side)
    return 2 * side**3 / _median(partial(torch.mm, one, other), runs)


def _amx(side: int, runs: int) -> float:
    """Fifteen convolutions in a row: a network of one level that does little else."""
    config = LapSRNConfig(scale=2, depth=16)
    network = AmxNetwork(fold(parameters_of(LapSRN(config)), config))
    edge = side + 2 * config.margin
    tile = np.random.default_rng(0).random((1, edge, edge), np.float32)
    done = sum((side + 2 * (config.depth - i)) ** 2 for i in range(1, config.depth))
    return 2 * 9 * 64 * 64 * done / _median(lambda: network(tile, 1), runs)


def _median(run: Callable[[], object], runs: int) -> float:
    """Seconds of one call, after one that is not counted."""
    run()
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return statistics.median(times)
