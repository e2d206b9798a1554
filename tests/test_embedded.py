"""lapsrn.upscale: the engine inside of a program, on the shipped weights."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lapsrn
from app.embedded import Array
from tests.codec.support import picture, saved

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def upscaler() -> Iterator[lapsrn.Upscaler]:
    with lapsrn.Upscaler(device="cpu") as made:
        yield made


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(9, 12), (9, 12, 1), (9, 12, 3), (9, 12, 4)])
def test_arrays_are_returned_for_arrays(upscaler: lapsrn.Upscaler, shape: tuple[int, ...], dtype: type) -> None:
    samples: Array = np.full(shape, np.iinfo(dtype).max // 3, dtype)
    found = upscaler.upscale(samples, 2)
    assert found.shape == (18, 24, *shape[2:])
    assert found.dtype == dtype
    assert (found == samples.flat[0]).all(), "a flat picture stays exact"


def test_pillow_images_and_files_give_the_same_pixels(upscaler: lapsrn.Upscaler, tmp_path: Path) -> None:
    samples: Array = picture(9, 12, 3)
    (tmp_path / "a.png").write_bytes(saved(samples, "PNG"))
    image = upscaler.upscale(Image.fromarray(samples), 4)
    assert image.size == (48, 36)
    assert np.array_equal(np.asarray(image), upscaler.upscale(samples, 4))
    for file in (saved(samples, "PNG"), tmp_path / "a.png", str(tmp_path / "a.png")):
        body = upscaler.upscale(file, 4)
        assert body.startswith(b"\x89PNG")


def test_options_and_sizes_are_accepted(upscaler: lapsrn.Upscaler) -> None:
    small: Array = picture(10, 20, 3)
    assert upscaler.upscale(small, long_side=50).shape == (25, 50, 3)
    assert upscaler.upscale(saved(picture(10, 20, 3), "PNG"), 2, format="jpeg").startswith(b"\xff\xd8")
    with pytest.raises(ValueError, match="can become"):
        upscaler.upscale(small, width=10_000)
    with pytest.raises(ValueError, match="not a picture"):
        upscaler.upscale(b"nothing")


def test_several_threads_can_use_one_upscaler(upscaler: lapsrn.Upscaler) -> None:
    def enlarged(before: Array) -> Array:
        return upscaler.upscale(before)

    pictures: list[Array] = [picture(8 + i, 9, 1, seed=i) for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(enlarged, pictures))
    for before, after in zip(pictures, found, strict=True):
        assert after.shape == (before.shape[0] * 4, 36, 1)
        assert np.array_equal(after, upscaler.upscale(before))


def test_the_function_loads_the_networks_once_and_reports_progress() -> None:
    told: list[tuple[int, int]] = []
    first = lapsrn.upscale(picture(9, 12, 1), progress=lambda done, total: told.append((done, total)))
    assert first.shape == (36, 48, 1)
    assert told[-1][0] == told[-1][1] > 0


def test_a_closed_upscaler_raises_an_error() -> None:
    made = lapsrn.Upscaler(device="cpu")
    made.close()
    made.close()
    with pytest.raises(RuntimeError, match="closed"):
        made.upscale(b"")


def test_a_program_that_used_it_exits_cleanly_without_output() -> None:
    program = "import lapsrn, numpy as np; print(lapsrn.upscale(np.zeros((5, 6), np.uint8)).shape)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "(20, 24)\n", "")
