"""Measure 2: the share of this machine's best convolution rate that the served path attains on its own arithmetic."""

import multiprocessing
import statistics
import time
from multiprocessing.connection import Connection

import torch
from torch.nn import functional as F

from app.engine import EngineConfig
from app.main import cores
from app.settings import Settings
from bench.arithmetic import engine_flops, useful_flops
from bench.contestants import Contestant
from bench.machine import describe
from bench.report import Plan, Section
from model.checkpoint import load_weights
from model.torch_network import torch_dtype

SIDES = (32, 64, 128, 256)


def measure(plan: Plan) -> Section:
    """Convolutions and the served path in turn, so that both see the same machine."""
    section = Section(
        "roofline", "Roofline: the best rate of a 64→64 3×3 convolution, and the served path's share of it"
    )
    machine = describe()
    network, _ = load_weights(Settings().weights)
    side, runs = plan.pick(256, 48), plan.pick(5, 2)
    rates, times = [], []
    with Contestant("served") as contestant:
        for _ in range(runs):
            rates.append(convolution_rate(machine.dtype, plan.pick(9, 2), SIDES[: plan.pick(4, 1)]))
            times.append(contestant.seconds(side, side)[0])
    rate, seconds = statistics.median(rates), statistics.median(times)
    config = network.config
    useful = useful_flops(config, side, side)
    computed = engine_flops(config, EngineConfig.for_device(machine.device, machine.dtype), side, side, cores())
    section.add(f"best convolution rate, one thread on each of {machine.cores} cores", rate / 1e9, "GFLOP/s")
    section.add(f"served {side}×{side}, rate without the margins' arithmetic", useful / seconds / 1e9, "GFLOP/s")
    section.add("share, margins not counted as work", 100 * useful / seconds / rate, "%", "≥ 70")
    section.add("share, margins counted as work", 100 * computed / seconds / rate, "%")
    section.notes.append(
        "Arithmetic is a direct convolution's, from the network's config. Winograd kernels need less than that, "
        "so their share can pass 100%."
    )
    return section


def convolution_rate(dtype: str, runs: int, sides: tuple[int, ...]) -> float:
    """Operations per second of a 64→64 3x3 convolution, summed over one process with one thread for each core.

    Each process takes the best median over sizes and memory layouts.
    """
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for _ in range(cores()):
        pipe, other = context.Pipe()
        process = context.Process(target=_convolve, args=(dtype, runs, sides, other))
        process.start()
        pipes.append(pipe)
        processes.append(process)
    total = sum(float(pipe.recv()) for pipe in pipes)
    for process in processes:
        process.join()
    return total


def _convolve(dtype: str, runs: int, sides: tuple[int, ...], pipe: Connection) -> None:
    torch.set_num_threads(1)
    kind, best = torch_dtype(dtype), 0.0
    with torch.inference_mode():
        for side in sides:
            for layout in (torch.channels_last, torch.contiguous_format):
                features = torch.randn(1, 64, side + 2, side + 2).to(kind, memory_format=layout)
                weight = torch.randn(64, 64, 3, 3).to(kind, memory_format=layout)
                F.conv2d(features, weight)
                times = []
                for _ in range(runs):
                    began = time.perf_counter()
                    F.conv2d(features, weight)
                    times.append(time.perf_counter() - began)
                best = max(best, 2 * 9 * 64 * 64 * side**2 / statistics.median(times))
    pipe.send(best)
