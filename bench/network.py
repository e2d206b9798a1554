"""Luma in, both levels out, the served path against public code and other runtimes, in turn."""

import contextlib
import statistics
from collections.abc import Sequence

from bench.contestants import CONTESTANTS, DEEP, Absent, Contestant
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


def measure_deep(plan: Plan) -> Section:
    """A network with skip connections."""
    return _race(plan, 256, 256, 7, name="network-deep", contestants=tuple(DEEP))


def _race(
    plan: Plan,
    height: int,
    width: int,
    runs: int,
    target: str = "",
    *,
    alone: bool = False,
    name: str = "",
    contestants: Sequence[str] = tuple(CONTESTANTS),
) -> Section:
    """Ratios of medians; every round, each contestant once, or all rounds of one and then of the next.

    A peer that dies, as of too little memory, is reported and left out.
    """
    title = f"Network: {width}×{height} luma in, both levels out, padding, tiles and stitching included"
    section = Section(name or f"network-{width}", title)
    if plan.quick:
        height, width, runs, contestants = 32, 32, 2, contestants[:2]
    found: dict[str, list[tuple[float, float]]] = {}
    for group in [(each,) for each in contestants] if alone else [contestants]:
        found |= _timed(section, group, height, width, runs)
    medians = {
        each: [statistics.median(column) for column in zip(*times, strict=True)] for each, times in found.items()
    }
    for each, (wall, cpu) in medians.items():
        section.add(f"{each}, median of {runs}: time", 1000 * wall, "ms")
        section.add(f"{each}, median of {runs}: CPU time", 1000 * cpu, "ms")
    wall, cpu = medians.pop("served")
    for each, (their_wall, their_cpu) in medians.items():
        section.add(f"{each} / served, time", their_wall / wall, "×", target if each == "eager" else "")
        section.add(f"{each} / served, CPU time", their_cpu / cpu, "×")
    section.notes.append("CPU time is what to go by when the machine was busy with other things.")
    return section


def _timed(
    section: Section, names: Sequence[str], height: int, width: int, runs: int
) -> dict[str, list[tuple[float, float]]]:
    """(seconds, CPU seconds) of every run by contestant, one run of each in every round; notes who is left out."""
    found: dict[str, list[tuple[float, float]]] = {}
    with contextlib.ExitStack() as stack:
        racing = []
        for name in names:
            try:
                racing.append(stack.enter_context(Contestant(name)))
            except Absent as absent:
                section.notes.append(f"{name} skipped: {absent}.")
        for _ in range(runs):
            for contestant in list(racing):
                try:
                    seconds = contestant.seconds(height, width)
                except EOFError:
                    racing.remove(contestant)
                    found.pop(contestant.name, None)
                    section.notes.append(f"{contestant.name} died, most likely for want of memory.")
                else:
                    found.setdefault(contestant.name, []).append(seconds)
    return found
