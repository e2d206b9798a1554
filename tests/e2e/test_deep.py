"""A network of 13 and 3 convolutions with skip connections, served over HTTP beside the shipped ones."""

from pathlib import Path

import httpx
import numpy as np
import pytest
import torch

from app.build import build_formulas, build_limits
from app.codec import Codec
from app.codec.merge import merge
from app.options import UpscaleOptions
from app.settings import Settings
from bench.pictures import jpeg
from model.backends.registry import choose
from model.checkpoint import save_weights
from model.config import LapSRNConfig
from model.evaluate import upscale, upscale_ensemble
from model.network import LapSRN
from model.runtime import Weights
from tests.e2e.conftest import Launch
from tests.model.networks import DEEP, random_network
from tests.pictures import opened, png
from tests.service_process import Process

PICTURE = png(opened(jpeg(61, 83)))


@pytest.fixture(scope="module")
def network() -> LapSRN:
    return random_network(DEEP)


@pytest.fixture(scope="module")
def file(network: LapSRN, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "deep.safetensors"
    save_weights(path, network)
    return path


@pytest.fixture(scope="module")
def service(launch: Launch, file: Path, weights: Path) -> Process:
    return launch(weights=str(weights), more_weights=str(file), dtype="float32").get_ready()


def post(service: Process, body: bytes, **options: str) -> httpx.Response:
    answer = httpx.post(f"{service.url}/upscale", params=options, files={"image": body}, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer


def test_a_deep_network_is_served_besides_the_others_on_the_same_backend(service: Process, file: Path) -> None:
    found = {each["name"]: each for each in httpx.get(f"{service.url}/model").json()["models"]}
    assert list(found) == ["lapsrn_x4", "deep"]
    assert found["deep"]["margin"] == DEEP.margin
    assert (
        Weights.open(file).runtime("cpu", "float32").info.backend
        == choose(LapSRNConfig(), "cpu", "float32").backend.name
    )


@pytest.mark.parametrize("quality", [{}, {"quality": "high"}], ids=["one pass", "best"])
@pytest.mark.parametrize("scale", [2, 4])
def test_results_equal_those_of_the_trained_network(
    service: Process, network: LapSRN, scale: int, quality: dict[str, str]
) -> None:
    """Within what float32 may round otherwise."""
    (picture,) = Codec(build_formulas(), build_limits(Settings())).decode(PICTURE, UpscaleOptions(scale=scale)).frames
    enlarge = upscale_ensemble if quality else upscale
    with torch.no_grad():
        luma = enlarge(network.fold(), picture.luma)[scale // 4]
    expected = merge(picture, [luma], scale, 8, build_formulas(), consistent=True).astype(int)
    found = opened(post(service, PICTURE, model="deep", scale=str(scale), clean="0", **quality).content)
    assert abs(expected - found).max() <= 1
    assert (expected != found).mean() < 0.001


@pytest.mark.parametrize("size", [(1, 1), (5, 70)])
def test_flat_pictures_keep_their_colour(service: Process, size: tuple[int, int]) -> None:
    body = png(np.full((*size, 3), (90, 140, 220), np.uint8))
    found = opened(post(service, body, model="deep", scale="4").content)
    assert found.shape == (4 * size[0], 4 * size[1], 3)
    assert (found == (90, 140, 220)).all()
