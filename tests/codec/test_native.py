"""Which native library is loaded, and that all of them give the same results and stay within their buffers."""

import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from app.codec import native
from app.codec.history import grid
from app.codec.merge import merge
from app.codec.png_filters import ADAPTIVE, filtered
from app.codec.split import split
from tests.codec.history.test_grid import quality_of, textured, through
from tests.codec.support import FORMULAS, Array, bicubic

SHAPES = [(1, 1), (1, 3), (3, 4), (5, 8), (33, 17), (70, 50)]
ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.usefixtures("loaded_anew")
def test_no_library_is_loaded_if_none_is_compiled_for_this_system(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "_native.so").write_bytes(b"made for another system")
    monkeypatch.setattr(native, "FOLDER", tmp_path)
    assert native.library() is None
    assert native.kind() == "numpy"


@pytest.mark.usefixtures("loaded_anew")
def test_a_library_compiled_from_other_sources_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """For example after an update of only the sources; numpy is used instead."""
    monkeypatch.setattr("ctypes.CDLL", lambda path: object())
    assert native.library() is None
    assert native.kind() == "numpy"


@pytest.mark.usefixtures("loaded_anew")
def test_an_older_cpu_gets_the_generic_library(monkeypatch: pytest.MonkeyPatch) -> None:
    if not (native.FOLDER / "_native.so").is_file():
        pytest.skip("nothing is compiled here")
    monkeypatch.setattr(native, "_cpu_features", lambda: {"avx", "sse4_2"})
    assert native.library() is not None
    assert native.kind() == "native"


def random_samples(height: int, width: int, channels: int, dtype: type, opaque: bool = False) -> Array:
    random = np.random.default_rng(height * width + channels)
    samples = random.integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, endpoint=True)
    if opaque:
        samples[..., -1] = np.iinfo(dtype).max
    return samples


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("channels", "opaque"), [(1, False), (2, False), (2, True), (3, False), (4, False), (4, True)])
@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def test_merging_equals_numpy(
    compiled: str, scale: int, channels: int, opaque: bool, dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Except for values half-way between two codes within float32 precision: few at 8 bits, some at 16."""
    for height, width in SHAPES:
        picture = split(random_samples(height, width, channels, dtype, opaque), FORMULAS)
        planes = tuple(bicubic(plane, scale) for plane in picture.planes)
        depth: Literal[8, 16] = 8 if dtype is np.uint8 else 16
        found = merge(picture, planes, scale, depth, FORMULAS)
        with monkeypatch.context() as context:
            context.setattr("app.codec.merge.library", lambda: None)
            expected = merge(picture, planes, scale, depth, FORMULAS)
        differences = np.abs(found.astype(int) - expected)
        assert differences.max() <= 1
        assert (differences > 0).mean() <= (0.001 if dtype is np.uint8 else 0.05)


@pytest.mark.parametrize("length", [1, 2, 7, 31, 32, 33, 100, 8160, 8168, 30_001])
@pytest.mark.parametrize("step", [1, 2, 3, 4, 6, 8])
def test_filtering_equals_numpy(compiled: str, step: int, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sums of the longest rows do not fit into the 16-bit accumulators of one part of a row. Some rows hold bytes
    far from zero and from each other, for which an overflowed sum would look small.
    """
    random = np.random.default_rng(length + step)
    rows = random.integers(0, 256, (40, length), np.uint8)
    rows[10:16] //= 16
    rows[16:24] = random.integers(108, 149, (8, length))
    rows[24:32] = np.arange(8)[:, None] + np.arange(length) // step
    rows[32:] = np.cumsum(random.integers(-2, 3, (8, length)), axis=0)
    found = filtered(rows, rows[-1], step, ADAPTIVE)
    monkeypatch.setattr("app.codec.png_filters.library", lambda: None)
    np.testing.assert_array_equal(filtered(rows, rows[-1], step, ADAPTIVE), found)
    assert length < 100 or len(set(found.reshape(40, -1)[:, 0])) > 2


def test_histograms_equal_numpy(compiled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    pictures = [random.uniform(0, 255, shape).astype(np.float32) for shape in [(8, 8), (9, 31), (135, 128)]]
    found = grid.histograms(pictures)
    assert found.sum() == 5 * sum((height - 7) * (width - 7) for height, width in [(8, 8), (9, 31), (135, 128)])
    monkeypatch.setattr("app.codec.history.grid.library", lambda: None)
    np.testing.assert_array_equal(grid.histograms(pictures), found)


@pytest.mark.parametrize("quality", [None, 60])
def test_every_implementation_detects_the_quality_of_a_jpeg(implementation: str, quality: int | None) -> None:
    picture = textured(200, 264)
    assert quality_of(picture if quality is None else through(picture, quality)) == quality


@pytest.mark.parametrize("side", ["before", "behind"])
def test_the_c_code_does_not_access_memory_outside_its_buffers(compiled: str, side: str) -> None:
    command = [sys.executable, "-m", "tests.codec.guarded", side, compiled]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
