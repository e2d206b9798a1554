"""The wheel in environments of its own, with the other versions of Python that it is for; `make pythons` makes them."""

import io
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent.parent
OTHERS = ("3.12", "3.13", "3.14")
IN_A_PROGRAM = """
import sys
import lapsrn, lapsrn_client
from PIL import Image
lapsrn.upscale(Image.open(sys.argv[1]), scale=4).save(sys.argv[2])
print(sys.version_info[:2], lapsrn.__file__)
"""


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def pixels(file: Path) -> bytes:
    with Image.open(file) as image:
        assert image.size == (120, 96)
        return image.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("version", OTHERS)
def test_the_wheel_gives_the_same_bytes_on_every_python(version: str, tmp_path: Path) -> None:
    binaries = ROOT / "build" / "pythons" / version / "bin"
    if not (binaries / "lapsrn").exists():
        pytest.skip(f"{binaries} is not there: make pythons makes it where Python {version} is installed")
    small, here, there, inside = (tmp_path / f"{name}.png" for name in ("small", "here", "there", "inside"))
    body = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 30, 3), np.uint8)).save(body, "PNG")
    small.write_bytes(body.getvalue())
    run(sys.executable, "-m", "app.cli", "upscale", small, "-o", here, cwd=ROOT)
    run(binaries / "lapsrn", "upscale", small, "-o", there, cwd=Path("/"))
    told = run(binaries / "python", "-W", "error::SyntaxWarning", "-c", IN_A_PROGRAM, small, inside, cwd=Path("/"))
    assert there.read_bytes() == here.read_bytes()
    assert pixels(inside) == pixels(here)
    assert told.startswith(f"({version.replace('.', ', ')}) {binaries.parent}")


@pytest.mark.parametrize("file", ["pyproject.toml", "clients/python/pyproject.toml"])
def test_the_declared_python_versions_are_those_tested(file: str) -> None:
    with (ROOT / file).open("rb") as stream:
        project = tomllib.load(stream)["project"]
    named = [found[1] for each in project["classifiers"] if (found := re.search(r":: (3\.\d+)$", each))]
    assert named == [project["requires-python"].removeprefix(">="), *OTHERS]
