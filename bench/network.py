"""Measure 1: luma in, both levels out, the served path against public code and other runtimes, in turn."""

import contextlib
import statistics

from bench.contestants import CONTESTANTS, Absent, Contestant
from bench.report import Plan, Section


def measure_64(plan: Plan) -> Section:
    """Thumbnails."""
    return _race(plan, 64, 64, 9)


def measure_256(plan: Plan) -> Section:
    """The size that targets are set for."""
    return _race(plan, 256, 256, 7, "≥ 4.5 in float32, ≥ 25 in bfloat16")


def measure_1024(plan: Plan) -> Section:
    """Screen size; some contestants take gigabytes, so there is one at a time."""
    return _race(plan, 768, 1024, 1, alone=True)


def _race(plan: Plan, height: int, width: int, runs: int, target: str = "", *, alone: bool = False) -> Section:
    """Ratios of medians; every round, each contestant once, or all rounds of one and then of the next.

    A peer that dies, as of too little memory, is told and left out.
    """
    title = f"Network: {width}×{height} luma in, both levels out, padding, tiles and stitching included"
    section = Section(f"network-{width}", title)
    if plan.quick:
        height, width, runs = 32, 32, 2
    found: dict[str, list[tuple[float, float]]] = {}
    names = ("eager", "served") if plan.quick else tuple(CONTESTANTS)
    for group in [(name,) for name in names] if alone else [names]:
        with contextlib.ExitStack() as stack:
            field = []
            for name in group:
                try:
                    field.append(stack.enter_context(Contestant(name)))
                except Absent as absent:
                    section.notes.append(f"{name} skipped: {absent}.")
            for _ in range(runs):
                for contestant in list(field):
                    try:
                        found.setdefault(contestant.name, []).append(contestant.seconds(height, width))
                    except EOFError:
                        field.remove(contestant)
                        del found[contestant.name]
                        section.notes.append(f"{contestant.name} died, most likely for want of memory.")
    medians = {
        name: [statistics.median(column) for column in zip(*times, strict=True)] for name, times in found.items()
    }
    for name, (wall, cpu) in medians.items():
        section.add(f"{name}, median of {runs}: time", 1000 * wall, "ms")
        section.add(f"{name}, median of {runs}: CPU time", 1000 * cpu, "ms")
    wall, cpu = medians.pop("served")
    for name, (their_wall, their_cpu) in medians.items():
        section.add(f"{name} / served, time", their_wall / wall, "×", target if name == "eager" else "")
        section.add(f"{name} / served, CPU time", their_cpu / cpu, "×")
    section.notes.append("CPU time is what to go by when the machine was busy with other things.")
    return section
