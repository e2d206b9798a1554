"""`lapsrn` as a process of its own: pipes, signals, what it imports, shell completion."""

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from app.formats import OUTPUT_FORMATS
from tests import pictures
from tests.cli.live import service
from tests.fakes import FakeModel

ROOT = Path(__file__).resolve().parents[2]
LAPSRN = [sys.executable, "-m", "app.cli"]
GRAY = pictures.gray(5, 7)
pytestmark = pytest.mark.server


def environment(**more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LAPSRN_")}
    return clean | {"PYTHONPATH": str(ROOT)} | more


def imported(*arguments: str) -> set[str]:
    """Top-level modules that are loaded when the command ends."""
    code = f"import sys, app.cli as cli\nsys.argv = ['lapsrn', *{list(arguments)!r}]\ntry:\n    cli.main()\n" + (
        "finally:\n    print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stderr.splitlines()}


def test_help_loads_nothing_heavy() -> None:
    assert imported("--help") & {"torch", "numpy", "fastapi", "httpx", "pydantic", "PIL", "model"} == set()


def test_through_a_service_no_torch_is_loaded(url: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(pictures.png(GRAY))
    modules = imported("upscale", str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), "--server", url)
    assert (tmp_path / "out" / "a.png").exists()
    assert "httpx" in modules
    assert modules & {"torch", "numpy", "fastapi", "PIL", "model"} == set()


def test_on_this_machine_no_server_is_loaded(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "a.png").write_bytes(pictures.png(GRAY))
    modules = imported("upscale", str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), "--weights", str(weights))
    assert (tmp_path / "out" / "a.png").exists()
    assert modules & {"fastapi", "starlette", "uvicorn", "redis", "httpx"} == set()


def test_pipes(url: str) -> None:
    command = [*LAPSRN, "upscale", "-", "-o", "-", "--server", url]
    done = subprocess.run(command, input=pictures.png(GRAY), env=environment(), capture_output=True, check=True)
    np.testing.assert_array_equal(pictures.opened(done.stdout), GRAY.repeat(4, axis=0).repeat(4, axis=1))


@pytest.mark.slow
def test_pipes_with_the_real_network(weights: Path) -> None:
    flat = np.full((6, 9, 3), (200, 30, 90), np.uint8)
    command = [*LAPSRN, "upscale", "-", "-o", "-", "--weights", str(weights), "--device", "cpu"]
    done = subprocess.run(command, input=pictures.png(flat), env=environment(), capture_output=True, check=True)
    np.testing.assert_array_equal(pictures.opened(done.stdout), np.full((24, 36, 3), (200, 30, 90), np.uint8))


def test_missing_weights_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(pictures.png(GRAY))
    command = [
        *LAPSRN,
        "upscale",
        str(tmp_path / "a.png"),
        "-o",
        str(tmp_path / "out"),
        "--weights",
        "gone.safetensors",
    ]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "gone.safetensors" in done.stderr


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_once_and_leaves_nothing_half_done(tmp_path: Path, sent: signal.Signals) -> None:
    gate = threading.Event()
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(pictures.png(GRAY))
    with service([partial(FakeModel, gate=gate)]) as (url, running):
        try:
            command = [*LAPSRN, "upscale", str(tmp_path), "-o", str(tmp_path / "out"), "--server", url]
            heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # also where the tests run in the background
            process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True, preexec_fn=heard)
            until = time.monotonic() + 30
            while running.jobs.under_way < 2:
                assert time.monotonic() < until, "the pictures were not sent"
                time.sleep(0.01)
            process.send_signal(sent)
            _, told = process.communicate(timeout=20)
        finally:
            gate.set()
    assert process.returncode == 130
    assert "interrupted" in told
    assert "Traceback" not in told
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("typed", "word", "expected"),
    [
        ("lapsrn up", 1, {"upscale"}),
        ("lapsrn upscale --format ", 3, set(OUTPUT_FORMATS)),
        ("lapsrn upscale --ser", 2, {"--server"}),
    ],
)
def test_shell_completion(typed: str, word: int, expected: set[str]) -> None:
    more = {"_LAPSRN_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(word)}
    code = "import sys, app.cli; sys.argv = ['lapsrn']; app.cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(**more), capture_output=True, text=True, check=False
    )
    assert set(done.stdout.split()) == expected
