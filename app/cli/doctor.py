"""`lapsrn doctor`: what this machine runs it on, how fast, and within which limits."""

import asyncio
import json
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app import build
from app.codec import native
from app.engine import Engine, TileModel
from app.errors import StartupError
from app.metrics import Metrics
from app.service.service import ModelFactory
from app.settings import Settings, load_settings

Facts = dict[str, dict[str, Any]]
EDGE = 256
RUNS = 5


def doctor(weights: Path | None, device: str | None, *, as_json: bool) -> int:
    """Tells what it finds; 0, or 1 when nothing can be upscaled here. Raises StartupError for wrong settings."""
    settings = load_settings()
    given = {"weights": weights, "devices": device}
    settings = settings.model_copy(update={name: value for name, value in given.items() if value is not None})
    facts: Facts = {"machine": _machine()}
    problem = ""
    try:
        facts |= asyncio.run(_network(settings))
    except StartupError as error:
        problem = str(error)
    facts["decoders"], fault = _decoders(settings)
    problem = problem or fault
    facts["limits of the service"] = {
        "bytes in": settings.max_input_bytes,
        "pixels in": settings.max_input_pixels,
        "pixels out": settings.max_output_pixels,
        "tiles under way": settings.max_queue_tiles,
        "seconds": settings.deadline_seconds,
        "formats": list(settings.formats),
    }
    if as_json:
        print(json.dumps(facts | {"problem": problem or None}))
    else:
        _show(facts, problem)
    return int(bool(problem))


def _machine() -> dict[str, Any]:
    names = ("lapsrn", "torch", "numpy", "pillow")
    packages = {"lapsrn": build.package_version()} | {name: version(name) for name in names[1:]}
    system = {"python": platform.python_version(), "system": platform.platform(), "cores": build.cores()}
    return packages | system | {"codec": native.kind()}


def _decoders(settings: Settings) -> tuple[dict[str, Any], str]:
    """How the service would decode here, and why it could not, or ""."""
    pool = build.build_decoders(settings, Metrics(CollectorRegistry()))
    if pool is None:
        return {"isolated": "no: LAPSRN_DECODE=inline decodes in the service itself"}, ""
    with closing(pool):
        pool.start()
        pool.check()
        isolated = "not known" if pool.gap is None else f"no: {pool.gap}" if pool.gap else "yes"
        fault = f"decoder processes do not start: {pool.fault}" if pool.fault else ""
        return {"processes": len(pool.pids), "isolated": isolated}, fault


async def _network(settings: Settings) -> Facts:
    """The weights, and what they run on. Raises StartupError."""
    source = build.open_model(settings, None)
    built: list[TileModel] = []
    factories = [_noting(factory, built) for factory in source.factories]
    engine = build.build_engine(settings, Metrics(CollectorRegistry()), replace(source, factories=factories))
    async with engine:
        model = built[0]
        seconds = await _time(engine, model.scales[-1])
    about = {
        "file": str(settings.weights),
        "name": model.name,
        "levels": list(model.scales),
        "margin": model.margin,
        "sha256": source.details.get("sha256"),
        "scores": source.details.get("scores"),
        "more networks": [each.name for each in model.companions],
    }
    running = {
        "device": model.device,
        "dtype": model.dtype,
        "backend": source.details.get("backend"),
        "workers": len(factories),
        f"ms for {EDGE}x{EDGE} at x{model.scales[-1]}": round(seconds * 1000, 1),
        "megapixels in a second": round(EDGE * EDGE / seconds / 1e6, 3),
    }
    return {"weights": about, "engine": running}


def _noting(factory: ModelFactory, built: list[TileModel]) -> ModelFactory:
    """The same factory, which also keeps what it built."""

    def noted() -> TileModel:
        model = factory()
        built.append(model)
        return model

    return noted


async def _time(engine: Engine, scale: int) -> float:
    """Median seconds of a few pictures, one after the other, luma only, without decoding and encoding."""
    rows, columns = np.indices((EDGE, EDGE))
    plane = ((rows * 7 + columns * 13) % 256 / 255).astype(np.float32)
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        await engine.upscale([plane], scale=scale, client="")
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _show(facts: Mapping[str, Mapping[str, Any]], problem: str) -> None:
    console = Console(highlight=False, soft_wrap=True)
    table = Table(box=None, show_header=False, pad_edge=False)
    for section, lines in facts.items():
        table.add_row(f"[bold]{section}")
        for name, value in lines.items():
            table.add_row(f"  {name}", escape(_text(value)))
    console.print(table)
    if problem:
        console.print(f"[red]cannot upscale here:[/] {escape(problem)}")


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_text(inner)}" for name, inner in value.items()) or "none"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
