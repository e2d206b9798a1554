"""Noise and shrinking are found in pictures that show them and rarely in others; C, numpy and torch agree."""

import io
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from app.codec.history import estimator
from app.codec.native import library
from bench.findings import FOLDERS, recognised, shrunk
from model.degradations import noisy
from model.pictures import Picture, read
from model.training.estimator import STRIDES, WAYS
from model.training.estimator import Estimator as Trained
from tests.codec.support import codec, wanted

SETS = FOLDERS[:2]


def pictures(folders: Iterable[Path]) -> list[Picture]:
    paths = [path for folder in folders for path in sorted(folder.glob("*.png"))]
    if not paths:
        pytest.skip("the pictures of shared/data are not on this machine")
    return [read(path) for path in paths]


@cache
def low_resolutions(kernel: str) -> tuple[Picture, ...]:
    """Photographs that the estimator was not trained on, shrunk."""
    return tuple(shrunk(each, kernel) for each in pictures(FOLDERS))


def share(kind: str, found: Iterable[set[str]]) -> float:
    return float(np.mean([kind in each for each in found]))


def random_parameters(seed: int = 0) -> dict[str, NDArray[np.float32]]:
    torch.manual_seed(seed)
    return {name: values.detach().numpy() for name, values in Trained().state_dict().items()}


@pytest.mark.parametrize("shape", [(15, 15), (16, 64), (47, 33), (64, 64)])
def test_c_numpy_and_torch_agree(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    tiles = [np.random.default_rng(seed).random(shape, np.float32) for seed in range(3)]
    trained = Trained()
    trained.load_state_dict({name: torch.from_numpy(values) for name, values in random_parameters().items()})
    served = estimator.Estimator(random_parameters(), WAYS, STRIDES, 8.0, (1e-3, 1e-6))
    with torch.no_grad():
        *scores, noise = trained(torch.from_numpy(np.stack(tiles))[:, None], 3)[0]
    found = served.of(tiles)
    assert found is not None
    assert found.sigma == pytest.approx(max(0.0, float(torch.expm1(noise))), abs=1e-4)
    assert list(found.ways.values()) == pytest.approx(torch.softmax(torch.stack(scores), 0).tolist(), abs=1e-5)
    if library() is None:
        pytest.skip("the C library is not compiled here")
    monkeypatch.setattr(estimator, "library", lambda: None)
    slower = served.of(tiles)
    assert slower is not None
    assert list(slower.ways.values()) == pytest.approx(list(found.ways.values()), abs=1e-5)
    assert slower.sigma == pytest.approx(found.sigma, abs=1e-4)


def test_several_tiles_count_as_one_picture() -> None:
    """Four equal tiles give the same as one; a tile too small for the convolutions is ignored."""
    served, tile = estimator.shipped(), np.random.default_rng(0).random((40, 40), np.float32)
    one, four = served.of([tile]), served.of([tile] * 4)
    assert one is not None
    assert four is not None
    assert four.sigma == pytest.approx(one.sigma)
    assert four.ways == pytest.approx(one.ways)
    assert served.of([tile, np.zeros((14, 64), np.float32)]) == one
    assert served.of([np.zeros((14, 64), np.float32)]) is None


@pytest.mark.parametrize("shape", [(1, 1), (18, 400), (23, 23)])
def test_nothing_is_found_in_small_pictures(shape: tuple[int, int]) -> None:
    assert recognised(np.random.default_rng(0).integers(0, 256, shape, np.uint8)) == set()


@pytest.mark.parametrize("value", [0, 128, 255])
def test_nothing_is_found_in_flat_pictures(value: int) -> None:
    assert recognised(np.full((80, 90, 3), value, np.uint8)) == set()


def test_nothing_is_found_in_the_published_low_resolutions() -> None:
    assert [recognised(each) for each in pictures(folder.parent / "LRx4" for folder in SETS)] == [set()] * 19


@pytest.mark.parametrize("change", [np.asarray, np.flipud, np.rot90], ids=["as it is", "upside down", "turned"])
@pytest.mark.parametrize(("sigma", "least"), [(5, 0.8), (10, 0.95)])
def test_noise_is_found_in_most_pictures(sigma: float, least: float, change: Callable[[Picture], Picture]) -> None:
    rng = np.random.default_rng(0)
    noise = (noisy(np.ascontiguousarray(change(low)), sigma, rng) for low in low_resolutions("bicubic"))
    assert share("noise", map(recognised, noise)) >= least


@pytest.mark.parametrize("kernel", ["bicubic", "bilinear", "lanczos", "linear-light"])
def test_false_alarms_on_clean_pictures_are_rare(kernel: str) -> None:
    found = [recognised(low) for low in low_resolutions(kernel)]
    assert share("noise", found) <= 0.03
    assert share("area", found) <= (0.0 if kernel == "bicubic" else 0.1)
    assert share("aliased", found) == 0


def test_shrinking_by_area_is_found_in_most_pictures() -> None:
    assert share("area", map(recognised, low_resolutions("box"))) >= 0.5


def test_shrinking_without_antialiasing_is_found_in_most_pictures() -> None:
    assert share("aliased", map(recognised, low_resolutions("aliased"))) >= 0.5


def test_the_codec_reports_what_the_estimator_finds() -> None:
    picture = noisy(np.full((96, 96, 3), 120, np.uint8), 15, np.random.default_rng(0))
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    (found,) = codec().decode(file.getvalue(), wanted(clean="auto")).findings
    assert found.kind == "noise"
    assert found.amount == pytest.approx(10, abs=4)  # the noise of luma, from three channels
    assert codec().decode(file.getvalue(), wanted(clean=0.0)).findings == ()
