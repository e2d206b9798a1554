"""On a CPU nothing loads PyTorch, and nothing but training and evaluation needs it."""

import io
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from model.backends.registry import choose
from model.config import LapSRNConfig
from model.devices import NVIDIA
from tests.service_process import Process

pytestmark = pytest.mark.skipif(NVIDIA.exists(), reason="there is an NVIDIA GPU, which PyTorch serves")
needs_kernel = pytest.mark.skipif(
    choose(LapSRNConfig(), "cpu").backend.name == "torch", reason="no kernel in C runs here, so PyTorch computes"
)
WITHOUT = "import sys; sys.modules['torch'] = None; from app.cli import main; sys.exit(main())"


def picture() -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 30, 3), np.uint8)).save(out, "PNG")
    return out.getvalue()


def lapsrn(*arguments: str, code: str = WITHOUT, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`lapsrn ARGUMENTS` where torch cannot be imported."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


@needs_kernel
@pytest.mark.server
def test_the_service_and_its_children_do_not_load_torch(service: Process) -> None:
    answer = httpx.post(f"{service.url}/upscale", params={"scale": 4}, files={"image": picture()}, timeout=120)
    assert answer.status_code == 200
    for model in httpx.get(f"{service.url}/model").json()["models"]:
        for scale in model["levels"]:
            query, files = {"scale": scale, "model": model["name"]}, {"image": picture()}
            assert httpx.post(f"{service.url}/upscale", params=query, files=files, timeout=120).status_code == 200
    root = service.process.pid
    children = Path(f"/proc/{root}/task/{root}/children").read_text().split()
    mapped = [Path(f"/proc/{process}/maps").read_text() for process in (root, *children)]
    assert "numpy" in mapped[0]
    assert not any("torch" in each for each in mapped)


@needs_kernel
@pytest.mark.server
def test_pictures_are_upscaled_without_torch_installed(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "small.png").write_bytes(picture())
    done = lapsrn("upscale", "small.png", "--weights", str(weights.resolve()), "-o", "large.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "large.png") as image:
        assert image.size == (120, 96)
    told = lapsrn("doctor", "--weights", str(weights.resolve()), cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert "no: PyTorch is not installed" in told.stdout


@needs_kernel
@pytest.mark.server
def test_commands_do_not_load_torch_even_if_it_is_installed(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "small.png").write_bytes(picture())
    code = (
        "import atexit, sys; from app.cli import main;"
        "atexit.register(lambda: print('LOADED', 'torch' in sys.modules)); sys.exit(main())"
    )
    done = lapsrn("upscale", "small.png", "--weights", str(weights.resolve()), "-o", "x.png", code=code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "LOADED False" in done.stdout


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_training_without_torch_says_what_to_install(command: str, tmp_path: Path) -> None:
    done = lapsrn(command, "--help", cwd=tmp_path)
    assert done.returncode == 1
    advice = "install what training needs: pip install 'lapsrn[train]', or make setup"
    assert done.stderr.splitlines() == [f"lapsrn {command}: torch is not installed; {advice}"]


def test_a_backend_that_needs_torch_says_that_it_is_missing(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "small.png").write_bytes(picture())
    code = "import os; os.environ['LAPSRN_BACKEND'] = 'torch'; " + WITHOUT
    done = lapsrn("upscale", "small.png", "--weights", str(weights.resolve()), "-o", "x.png", code=code, cwd=tmp_path)
    assert done.returncode != 0
    assert "PyTorch is not installed; install lapsrn[torch]" in done.stderr.replace("\n", " ")
