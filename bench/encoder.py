"""The PNG writer against Pillow and OpenCV: `bench.png` in a process of its own."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.report import Plan, Section


def measure(plan: Plan) -> Section:
    """Each set's sizes and speeds, as ratios to Pillow's default."""
    section = Section("png", "PNG writer: size and speed relative to Pillow's default")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "png.json"
        command = [sys.executable, "-m", "bench.png", "--runs", str(plan.pick(3, 1)), "--json", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        totals = json.loads(file.read_text())["totals"]
    for group, found in totals.items():
        base = found["Pillow, default"]
        for name, total in found.items():
            section.add(f"{group}, {name}: speed", base["seconds"] / total["seconds"], "×")
            section.add(f"{group}, {name}: size", total["bytes"] / base["bytes"], "×")
    return section
