"""Photographs over HTTP, 16 clients against a LitServe server, then more and more clients."""

import importlib.util

from bench import load
from bench.report import Plan, Section
from bench.servers import Server

PATH = "/upscale?scale=4"
SIDES = (256, 128, 64)


def measure(plan: Plan) -> Section:
    """16 clients here, and then on LitServe with the public network and Pillow."""
    clients, window, side = plan.pick(16, 2), float(plan.pick(20, 1)), plan.pick(256, 32)
    section = Section("http", f"HTTP: {clients} clients that post {side}×{side} photographs and wait for the PNG")
    ours, our_cpu = _loaded(Server.ours(), PATH, clients, window, side)
    _show(section, "served", ours)
    section.add("served: CPU time of an answer", our_cpu, "s")
    if plan.quick or importlib.util.find_spec("litserve") is None:
        section.notes.append("LitServe skipped: quick, or not installed (pip install -e '.[bench]').")
        return section
    theirs, their_cpu = _loaded(Server.peer(), load.JSON_PATH, clients, window, side)
    _show(section, "LitServe", theirs)
    section.add("LitServe: CPU time of an answer", their_cpu, "s")
    section.add("throughput, served / LitServe", ours.per_second / theirs.per_second, "×", "≥ 10")
    section.add("p99, LitServe / served", theirs.p(0.99) / ours.p(0.99), "×", "> 1")
    section.add("CPU time of an answer, LitServe / served", their_cpu / our_cpu, "×")
    return section


def measure_clients(plan: Plan) -> Section:
    """More and more clients; pictures so small that the last of 256 does not wait for minutes."""
    section = Section("clients", "HTTP: more and more clients, each waits for its answer before it sends again")
    with Server.ours() as server:
        load.run(server.url + PATH, 1, 0, (64, 64))
        side = _side(load.run(server.url + PATH, 1, 0, (64, 64)).p(0.5))
        single = 0.0
        for count in (1, 2) if plan.quick else (1, 4, 16, 64, 256):
            found = load.run(server.url + PATH, count, plan.pick(8, 1), (side, side))
            _show(section, f"{count} clients, {side}×{side}", found)
            single = single or found.per_second
            section.add(f"throughput with {count} clients / with 1", found.per_second / single, "×", "≥ 1")
    return section


def _loaded(server: Server, path: str, clients: int, window: float, side: int) -> tuple[load.Load, float]:
    """The load, and CPU seconds of the server for an answer."""
    with server:
        load.run(server.url + path, 1, 0, (side, side))
        before = server.cpu_seconds()
        found = load.run(server.url + path, clients, window, (side, side))
        return found, (server.cpu_seconds() - before) / len(found.times)


def _side(seconds: float) -> int:
    """The largest side at which 256 clients wait about half a minute, given what 64x64 takes."""
    return next((side for side in SIDES if seconds * (side / 64) ** 2 * 256 < 40), SIDES[-1])


def _show(section: Section, who: str, found: load.Load) -> None:
    section.add(f"{who}: throughput", found.per_second, "/s")
    section.add(f"{who}: median", 1000 * found.p(0.5), "ms")
    section.add(f"{who}: p99", 1000 * found.p(0.99), "ms")
    other = {status: count for status, count in found.statuses.items() if status != "200"}
    section.add(f"{who}: answers other than 200", sum(other.values()), str(other or ""), "only honest 503")
