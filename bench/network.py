"""Measure 1: luma in, both levels out, the served path against public code and other runtimes, in turn."""

import contextlib
import statistics

from bench.contestants import CONTESTANTS, Absent, Contestant
from bench.report import Plan, Section, milliseconds

SIZES = ((64, 64, 15), (256, 256, 5), (768, 1024, 1))
"""(height, width, runs)."""


def measure(plan: Plan) -> Section:
    """Ratios of medians, every round each contestant once."""
    section = Section("network", "Network: luma in, both levels out, padding, tiles and stitching included")
    sizes = ((32, 32, 2),) if plan.quick else SIZES
    target = {(256, 256): "≥ 4.5 in float32, ≥ 25 in bfloat16"}
    with contextlib.ExitStack() as stack:
        field = []
        for name in ("eager", "served") if plan.quick else CONTESTANTS:
            try:
                field.append(stack.enter_context(Contestant(name)))
            except Absent as absent:
                section.notes.append(f"{name} skipped: {absent}.")
        for height, width, runs in sizes:
            times: dict[str, list[float]] = {contestant.name: [] for contestant in field}
            for _ in range(runs):
                for contestant in list(field):
                    try:
                        times[contestant.name].append(contestant.seconds(height, width))
                    except RuntimeError as error:
                        section.notes.append(f"{height}x{width} failed: {error}")
                        field.remove(contestant)
            served = statistics.median(times["served"])
            for name, found in times.items():
                if not found:
                    continue
                section.add(f"{height}×{width}, {name}, median of {len(found)}", milliseconds(found), "ms")
                if name != "served":
                    wanted = target.get((height, width), "") if name == "eager" else ""
                    section.add(f"{height}×{width}, {name} / served", statistics.median(found) / served, "×", wanted)
    return section
