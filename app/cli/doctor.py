"""`lapsrn doctor`: reports on what this machine runs the networks, how fast, and within which limits."""

import asyncio
import io
import json
import platform
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from app import assembly, build
from app.cli.local import with_network
from app.codec import native
from app.engine import Engine, NetworkInfo
from app.errors import InferenceFailed, StartupError
from app.metrics import Metrics
from app.settings import Settings, load_settings

EDGE = 256
RUNS = 5


def doctor(weights: Path | None, device: str | None, *, as_json: bool) -> int:
    """Prints a report. Returns 0, or 1 if nothing can be upscaled here. Raises StartupError for invalid settings."""
    settings = with_network(load_settings(), weights, device)
    settings = assembly.settings_of_replica(settings, assembly.replica_count(settings))
    networks: Sequence[NetworkInfo] = ()
    engine: dict[str, Any] = {}
    problem = None
    memory: dict[str, Any] = {}
    try:
        source = build.open_model(settings, None)
        settings, division = assembly.within_memory(settings, source)
        memory = division.mebibytes()
        networks, engine = asyncio.run(_run(settings, source))
    except (InferenceFailed, StartupError) as error:
        problem = str(error)
    decoders, fault = _decoders(settings)
    problem = problem or fault or None
    facts: dict[str, Any] = {
        "machine": _machine(),
        "backends": _backends(settings, networks[0].config if networks else None),
        "networks": [_network(each) for each in networks],
        "engine": engine,
        "decoders": decoders,
        "results": asyncio.run(_results(settings)),
        "memory of the service in MiB": memory,
        "limits of the service": {
            "bytes in": settings.max_input_bytes,
            "pixels in": settings.max_input_pixels,
            "pixels out": settings.max_output_pixels,
            "tiles under way": settings.max_queue_tiles,
            "seconds": settings.deadline_seconds,
            "formats": list(settings.formats),
        },
        "problem": problem,
    }
    if as_json:
        print(json.dumps(facts))
    else:
        _show(facts)
    return int(problem is not None)


def _machine() -> dict[str, Any]:
    names = ("lapsrn", "torch", "numpy", "pillow")
    packages = {"lapsrn": build.package_version()} | {name: _version(name) for name in names[1:]}
    system = {"python": platform.python_version(), "system": platform.platform(), "cores": build.cores()}
    return packages | system | {"codec": native.kind()}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _decoders(settings: Settings) -> tuple[dict[str, Any], str]:
    """How the service would decode here, and why it cannot ("" if it can)."""
    pool = build.build_decoders(settings, Metrics(CollectorRegistry()))
    if pool is None:
        reason = "LAPSRN_DECODE=inline" if settings.decode == "inline" else "this system"
        return {"isolated": f"no: {reason} decodes in the service itself"}, ""
    with closing(pool):
        pool.start()
        pool.check()
        isolated = "not known" if pool.gap is None else f"no: {pool.gap}" if pool.gap else "yes"
        fault = f"decoder processes do not start: {pool.fault}" if pool.fault else ""
        return {"processes": len(pool.pids), "isolated": isolated}, fault


async def _results(settings: Settings) -> dict[str, Any]:
    """Where the service would keep results, and whether that works."""
    store = assembly.build_redis(settings, Metrics(CollectorRegistry()))
    if store is None:
        return {"kept": "in memory"}
    with redirect_stdout(io.StringIO()):  # drops its log messages, which say the same
        await store.available()
    await store.close()
    return {"kept": "in Redis", "state": f"{store.state}: {store.reason}" if store.reason else store.state}


def _backends(settings: Settings, config: object) -> list[dict[str, Any]]:
    """The backends, fastest first, each with the reason why it cannot be used here, or None."""
    from model.backends.registry import survey
    from model.config import LapSRNConfig
    from model.devices import devices

    try:
        device = devices(settings.devices)[0]
    except ValueError:  # reported as the problem
        return []
    network = config if isinstance(config, LapSRNConfig) else LapSRNConfig()
    return [
        {"name": each.name, "what": each.description, "for": each.needs, "why not": reason}
        for each, reason in survey(network, device, settings.dtype)
    ]


def _network(info: NetworkInfo) -> dict[str, Any]:
    names = (
        "name",
        "purpose",
        "full_strength_of",
        "deep_of",
        "margin",
        "backend",
        "dtype",
        "device",
        "sha256",
        "scores",
    )
    return {"levels": list(info.scales)} | {name: getattr(info, name) for name in names}


async def _run(settings: Settings, source: build.ModelSource) -> tuple[list[NetworkInfo], dict[str, Any]]:
    """The networks, and the speed of the first one. Raises StartupError and InferenceFailed."""
    async with build.build_engine(settings, Metrics(CollectorRegistry()), source) as engine:
        scale = engine.first.scales[-1]
        seconds = await _time(engine, scale)
        networks = list(engine.networks.values())
    running = {
        "weights": str(settings.weights),
        "workers": len(source.factories),
        "device": networks[0].device,
        "dtype": networks[0].dtype,
        "backend": networks[0].backend,
        f"ms for {EDGE}x{EDGE} at x{scale}": round(seconds * 1000, 1),
        "megapixels in a second": round(EDGE * EDGE / seconds / 1e6, 3),
    }
    return networks, running


async def _time(engine: Engine, scale: int) -> float:
    """Median seconds per picture, of a few in sequence, for luma only, without decoding and encoding."""
    rows, columns = np.indices((EDGE, EDGE))
    plane = ((rows * 7 + columns * 13) % 256 / 255).astype(np.float32)
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        await engine.upscale([plane], scale=scale, client="")
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _show(facts: Mapping[str, Any]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    table = Table(Column(), Column(overflow="fold"), box=None, show_header=False, pad_edge=False)
    for section, lines in _sections(facts):
        table.add_row(f"[bold]{section}")
        for name, value in lines.items():
            table.add_row(f"  {name}", escape(_text(value)))
    console.print(table)
    if facts["problem"]:
        console.print(f"[red]cannot upscale here:[/] {escape(facts['problem'])}")


def _sections(facts: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The headings, each with the lines below it."""
    yield "machine", facts["machine"]
    yield (
        "backends",
        {
            each["name"]: f"no: {each['why not']}" if each["why not"] else f"yes: {each['what']}"
            for each in facts["backends"]
        },
    )
    for network in facts["networks"]:
        about = {name: value for name, value in network.items() if name not in ("name", "scores") and value}
        yield network["name"], about | _score_lines(network["scores"])
    if facts["engine"]:
        yield "engine", facts["engine"]
    if facts["memory of the service in MiB"]:
        yield "memory of the service in MiB", facts["memory of the service in MiB"]
    yield "decoders", facts["decoders"]
    yield "results", facts["results"]
    yield "limits of the service", facts["limits of the service"]


def _score_lines(scores: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, str]:
    """A line for each set and scale."""
    return {
        f"{name} ×{scale}": "; bicubic ".join(filter(None, (_score(figures, ""), _score(figures, "bicubic_"))))
        for name, levels in scores.items()
        for scale, figures in levels.items()
    }


def _score(figures: Mapping[str, float], prefix: str) -> str:
    """The measured scores as text, such as "31.77 dB, SSIM 0.8894"."""
    shown = {"psnr": "{:.2f} dB", "ssim": "SSIM {:.4f}"}
    return ", ".join(text.format(figures[prefix + name]) for name, text in shown.items() if prefix + name in figures)


def _text(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
