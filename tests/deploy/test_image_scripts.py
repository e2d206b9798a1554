"""The helpers of the image's build, and the pictures of docker-check."""

import importlib.util
import io
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deploy.check_client import picture, png_size
from deploy.checking import CheckFailed
from deploy.image.slim import slim, strip


def test_the_check_picture_is_a_valid_png() -> None:
    data = picture(45, 61)
    with Image.open(io.BytesIO(data)) as image:
        grid = np.asarray(image)
    assert grid.shape == (45, 61, 3)
    assert grid[0, :, 0].tolist() == [255 * x // 61 for x in range(61)]
    assert grid[:, 0, 1].tolist() == [255 * y // 45 for y in range(45)]
    assert png_size(data) == (45, 61)


def saved(image: Image.Image, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


GOOD = saved(Image.new("RGB", (7, 5), (1, 2, 3)))


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (saved(Image.new("RGB", (7, 5)), "BMP"), "not a PNG"),
        (saved(Image.new("L", (7, 5))), "not 8-bit RGB"),
        (GOOD[:40] + bytes([GOOD[40] ^ 1]) + GOOD[41:], "wrong checksum"),
    ],
    ids=["bmp", "gray", "flipped bit"],
)
def test_png_size_refuses_anything_but_png(data: bytes, complaint: str) -> None:
    with pytest.raises(CheckFailed, match=complaint):
        png_size(data)


def test_slim_removes_headers_and_test_suites_and_keeps_modules(tmp_path: Path) -> None:
    kept = ["torch/__init__.py", "torch/bin/torch_shm_manager", "torch/testing/__init__.py", "app/tests/__init__.py"]
    gone = ["torch/include/ATen/ATen.h", "numpy/linalg/tests/test_x.py", "torch/lib/libx.a", "numpy/__init__.pyi"]
    kept += ["imagecodecs/_png.abi3.so", "imagecodecs.libs/libpng16-1.so", "pygments/lexers/__init__.py"]
    gone += ["imagecodecs/_sz3.abi3.so", "imagecodecs.libs/libSZ3c-1.so.3", "numpy/f2py/crackfortran.py"]
    gone += ["pygments/lexers/python.py", "pygments/lexers/__pycache__/python.cpython-311.pyc"]
    for name in [*kept, *gone, "torch-1.dist-info/METADATA"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1234")
    assert slim(tmp_path) == 4 * len(gone)
    assert all((tmp_path / name).exists() for name in kept)
    assert not any((tmp_path / name).exists() for name in gone)


def test_slim_refuses_a_folder_without_packages(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no installed packages"):
        slim(tmp_path)


@pytest.mark.skipif(shutil.which("strip") is None, reason="there is no strip here: install binutils")
def test_strip_removes_debug_information_and_modules_still_load(tmp_path: Path) -> None:
    spec = importlib.util.find_spec("uvloop.loop")
    assert spec is not None and spec.origin is not None
    source = Path(spec.origin)
    module, library = tmp_path / source.name, tmp_path / "x.libs" / source.name
    library.parent.mkdir()
    for file in (module, library):
        shutil.copy(source, file)
    freed = strip(tmp_path)
    assert module.stat().st_size == source.stat().st_size - freed
    assert library.read_bytes() == source.read_bytes()
    assert freed > 0
    subprocess.run([sys.executable, "-c", f"import ctypes; ctypes.PyDLL({str(module)!r})"], check=True)
