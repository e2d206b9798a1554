"""`python -m bench --quick` runs through and writes what it measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_quick_bench_runs_and_writes_its_results(tmp_path: Path, weights: Path) -> None:
    file = tmp_path / "bench.json"
    command = [sys.executable, "-m", "bench", "--quick", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=weights.parent.parent, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(file.read_text())
    assert document["machine"]["cores"] >= 1
    assert [section["name"] for section in document["sections"]] == ["stages"]
    rows = {row["what"]: row["value"] for section in document["sections"] for row in section["rows"]}
    assert rows["network"] > 0
    assert rows["split"] > 0
    assert 0 < rows["share that is not the network"] < 100
