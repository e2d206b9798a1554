"""Measure 3: photographs over HTTP, 16 clients against a LitServe server, then more and more clients."""

import importlib.util

from bench import load
from bench.report import Plan, Section
from bench.servers import Server

PATH = "/upscale?scale=4"
SIDES = (256, 128, 64)


def measure(plan: Plan) -> Section:
    """Throughput and 99th percentiles, closed loop: every client waits for its answer."""
    section = Section("http", "HTTP: clients that post photographs and wait for the PNG, on this machine")
    clients, window, side = plan.pick(16, 2), float(plan.pick(20, 1)), plan.pick(256, 32)
    with Server.ours() as server:
        warm = load.run(server.url + PATH, 1, 0, (side, side))
        ours = load.run(server.url + PATH, clients, window, (side, side))
        _show(section, f"served, {clients} clients, {side}×{side}", ours)
        swept = _sweep_side(warm.times[0], side)
        single = 0.0
        for count in (1, 2) if plan.quick else (1, 4, 16, 64, 256):
            found = load.run(server.url + PATH, count, plan.pick(8, 1), (swept, swept))
            _show(section, f"served, {count} clients, {swept}×{swept}", found)
            single = single or found.per_second
            if count > 1:
                section.add(f"throughput with {count} clients / with 1", found.per_second / single, "×", "≥ 1")
    if plan.quick or importlib.util.find_spec("litserve") is None:
        section.notes.append("LitServe skipped: quick, or not installed (pip install -e '.[bench]').")
        return section
    try:
        with Server.peer() as server:
            load.run(server.url + "/predict", 1, 0, (side, side))
            theirs = load.run(server.url + "/predict", clients, window, (side, side))
    except RuntimeError as error:
        section.notes.append(f"LitServe failed: {error}")
        return section
    _show(section, f"LitServe, {clients} clients, {side}×{side}", theirs)
    section.add("throughput, served / LitServe", ours.per_second / theirs.per_second, "×", "≥ 10")
    section.add("p99, LitServe / served", theirs.p(0.99) / ours.p(0.99), "×", "> 1")
    return section


def _sweep_side(seconds: float, side: int) -> int:
    """The largest side at which 256 clients wait about half a minute, given what one picture of `side` takes."""
    fitting = [each for each in SIDES if seconds * (each / side) ** 2 * 256 < 40]
    return fitting[0] if fitting else SIDES[-1]


def _show(section: Section, who: str, found: load.Load) -> None:
    section.add(f"{who}: throughput", found.per_second, "/s")
    section.add(f"{who}: median", 1000 * found.p(0.5), "ms")
    section.add(f"{who}: p99", 1000 * found.p(0.99), "ms")
    other = {status: count for status, count in found.statuses.items() if status != "200"}
    section.add(f"{who}: answers other than 200", sum(other.values()), str(other or ""), "only honest 503")
