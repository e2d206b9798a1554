"""Workers and codec keep to their own threads: no library's pool computes beside them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import asyncio, json, os, sys, threading, time
import numpy as np
from app.engine import Engine
from app.build import build_codec, open_model
from app.settings import Settings
from tests.codec.support import picture, saved, wanted

def ticks():
    found = {}
    for thread in os.listdir("/proc/self/task"):
        fields = open(f"/proc/self/task/{thread}/stat").read().rpartition(")")[2].split()
        found[int(thread)] = int(fields[11]) + int(fields[12])
    return found

async def main():
    settings = Settings(cpu_workers=2, worker_threads=int(sys.argv[1]), decode="inline")
    source, codec = open_model(settings, None), build_codec(settings)
    async with Engine(source.factories, source.engine) as engine:
        async def once():
            decoded = await asyncio.to_thread(codec.decode, saved(picture(200, 240, 3), "PNG"), wanted(scale=4))
            outputs = await engine.upscale(list(decoded.planes), scale=4, client="test")
            frames = decoded.by_frame(outputs, 4)
            await asyncio.to_thread(codec.encode, decoded, frames, 4, wanted())
        await once()
        before = ticks()
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            await once()
        after, own = ticks(), {thread.native_id for thread in threading.enumerate()}
    spent = {thread: used - before.get(thread, 0) for thread, used in after.items()}
    print(json.dumps([sum(t for i, t in spent.items() if (i in own) == ours) for ours in (True, False)]))

asyncio.run(main())
"""


def ticks_of(worker_threads: int) -> tuple[int, int]:
    """CPU time of the service's own threads and of all others, in clock ticks (10 ms)."""
    command = [sys.executable, "-c", PROGRAM, str(worker_threads)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    ours, others = json.loads(done.stdout)
    return ours, others


@pytest.mark.server
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_only_worker_and_codec_threads_use_cpu_time() -> None:
    ours, others = ticks_of(1)
    assert ours > 20
    assert others <= 0.05 * ours


@pytest.mark.server
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_library_threads_inside_a_worker_would_be_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: with two threads in each worker, a pool of torch's computes too."""
    monkeypatch.setenv("LAPSRN_BACKEND", "torch")  # the other backend has one thread in any case
    ours, others = ticks_of(2)
    assert others > 0.05 * ours
