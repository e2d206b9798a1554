"""A line of clean-up of deep networks beside plain ones, made here, through the service's own way: what is promised."""

import io
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

from app.bands.run import BandUpscaler
from app.build import build_formulas, build_limits, open_model
from app.cli.batch import Result
from app.cli.local import LocalBackend, local_settings
from app.codec import Codec
from app.codec.merge import merge
from app.errors import StartupError
from app.main import create_app
from app.options import UpscaleOptions
from app.settings import Settings
from bench.pictures import photograph
from model.checkpoint import save_weights
from model.evaluate import upscale, upscale_ensemble, upscale_twice
from model.network import LapSRN, LapSRNConfig
from model.weights import KINDS
from tests.conftest import running, service_of
from tests.model.networks import random_network
from tests.pictures import opened, png

PLAIN = LapSRNConfig(depth=2, width=8)
DEEP = LapSRNConfig(depths=(5, 3), skips=True, width=8)
TABLE = {kind: [(0, 1.0), (80, 1.0), (90, 0.5), (100, 0.0)] for kind in KINDS}
EFFORTS = [{}, {"quality": "medium"}, {"quality": "high"}, {"quality": "best"}]
PICTURE = png(opened(png(photograph(37, 46))))


def larger(base: LapSRN, seed: int) -> LapSRN:
    """For x8, with the first levels of `base`."""
    network = random_network(replace(base.config, scale=8, depths=(*base.config.depth_of_levels, 1)), seed)
    network.load_state_dict(network.state_dict() | base.state_dict())
    return network


@pytest.fixture(scope="module")
def networks() -> dict[str, LapSRN]:
    """Plain and deep, for x4 and x8."""
    plain, deep = random_network(PLAIN), random_network(DEEP, 1)
    return {"x4": plain, "x8": larger(plain, 2), "x4_deep": deep, "x8_deep": larger(deep, 3)}


@pytest.fixture(scope="module")
def folder(networks: dict[str, LapSRN], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their weights, and those of the clean-up."""
    folder = tmp_path_factory.mktemp("weights")
    abouts: dict[str, dict[str, Any]] = {"x4_deep": {"deep": {"of": "x4"}}, "x8_deep": {"deep": {"of": "x8"}}}
    for name, network in networks.items():
        save_weights(folder / f"{name}.safetensors", network, **abouts.get(name, {}))
    clean = {"base": "x4_deep", "strengths": TABLE}
    save_weights(folder / "x4_end.safetensors", random_network(DEEP, 4), clean=clean, purpose="Clean up")
    way = {"base": "x4_deep", "at": 0.5, "compressed": False}
    save_weights(folder / "x4_way.safetensors", random_network(DEEP, 5), clean=way)
    return folder


@pytest.fixture(autouse=True)
def _served(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAPSRN_WEIGHTS", str(folder / "x4.safetensors"))
    monkeypatch.setenv("LAPSRN_MORE_WEIGHTS", str(folder))
    monkeypatch.setenv("LAPSRN_DTYPE", "float32")


async def upscaled(picture: bytes, *asked: dict[str, Any]) -> Sequence[Result]:
    """A result for each of several options."""
    backend = LocalBackend(local_settings(None, "cpu"), UpscaleOptions(), None)
    await backend.start()
    try:
        return [await backend.upscale(picture, None, UpscaleOptions(**options)) for options in asked]
    finally:
        await backend.close()


@pytest.mark.parametrize("scale", [4, 8])
async def test_without_clean_up_each_effort_gives_the_pixels_of_its_network(
    networks: dict[str, LapSRN], scale: int
) -> None:
    (picture,) = Codec(build_formulas(), build_limits(Settings())).decode(PICTURE, UpscaleOptions(scale=scale)).frames
    found = await upscaled(PICTURE, *({"scale": scale, "clean": 0.0} | effort for effort in EFFORTS))
    ways = [("", upscale), ("", upscale_twice), ("_deep", upscale_twice), ("_deep", upscale_ensemble)]
    for result, (deep, enlarge) in zip(found, ways, strict=True):
        with torch.no_grad():
            luma = enlarge(networks[f"x{scale}{deep}"].fold(), picture.luma)[-1]
        expected = merge(picture, [luma], scale, 8, build_formulas(), consistent=True).astype(int)
        difference = np.abs(expected - opened(result.body))
        assert difference.max() <= 1
        assert (difference != 0).mean() < 0.001


@pytest.mark.parametrize("size", [(1, 1), (5, 70)])
@pytest.mark.parametrize("scale", [2, 4, 8])
async def test_flat_pictures_stay_flat_at_every_effort_and_strength(size: tuple[int, int], scale: int) -> None:
    body = png(np.full((*size, 3), (90, 140, 220), np.uint8))
    strengths = [0.0, 0.125, 0.5, 0.75, 1.0]
    asked = [{"scale": scale, "clean": clean} | effort for clean in strengths for effort in EFFORTS]
    for result in await upscaled(body, *asked):
        assert (opened(result.body) == (90, 140, 220)).all()


@pytest.mark.parametrize("effort", EFFORTS, ids=lambda effort: effort.get("quality", "standard"))
@pytest.mark.parametrize("clean", [0.0, 0.375, 1.0])
async def test_the_x8_network_gives_the_same_x4_picture(clean: float, effort: dict[str, str]) -> None:
    """Its wider margin may change how sums are rounded."""
    asked = {"scale": 4, "clean": clean} | effort
    small, large = await upscaled(PICTURE, asked, asked | {"model": "x8"})
    difference = np.abs(opened(small.body).astype(int) - opened(large.body))
    assert difference.max() <= 1
    assert (difference != 0).mean() < 0.01


async def test_results_are_as_bright_as_their_source() -> None:
    """Even with networks as wrong as these, the means of blocks are those of the source."""
    strengths = [0.0, 0.5, 1.0]
    asked = [{"scale": 4, "clean": clean} | effort for clean in strengths for effort in EFFORTS]
    source = opened(PICTURE)[:32, :32].astype(float).reshape(2, 16, 2, 16, 3).mean(axis=(1, 3))
    for result in await upscaled(PICTURE, *asked):
        made = opened(result.body)[:128, :128].astype(float).reshape(2, 64, 2, 64, 3).mean(axis=(1, 3))
        assert np.abs(made - source).max() < 2


async def test_compressed_pictures_use_the_deep_networks() -> None:
    file = io.BytesIO()
    smooth = Image.fromarray(photograph(20, 28)).resize((56, 40), Image.Resampling.BICUBIC)  # its texture is no noise
    smooth.save(file, "JPEG", quality=90)
    body = file.getvalue()
    asked: list[dict[str, Any]] = [
        {},
        {"clean": 0.5},
        {"clean": 0.5, "model": "x4_deep"},
        {"clean": 0.0},
        {"clean": 1.0},
        {"model": "x4_end"},
    ]
    auto, half, named, plain, full, end = await upscaled(body, *asked)
    assert (auto.clean, plain.clean, end.clean) == ("0.5; jpeg=90", "0", "1")
    assert auto.body == half.body == named.body != plain.body
    assert full.body == end.body


@pytest.mark.parametrize("options", [{"quality": "high"}, {"clean": 0.5}, {"clean": 1.0, "quality": "medium"}])
async def test_bands_give_the_same_bytes_as_the_whole(tmp_path: Path, options: dict[str, Any]) -> None:
    source, target = tmp_path / "source", tmp_path / "result"
    source.write_bytes(png(np.tile(photograph(50, 40), (3, 1, 1))))
    asked = UpscaleOptions(scale=4, format="png", **options)
    backend = LocalBackend(local_settings(None, "cpu"), asked, None)
    await backend.start()
    try:
        bands: list[int] = []
        upscaler = BandUpscaler(source, target, asked, backend.engine, build_formulas(), 1)
        try:
            await upscaler.run(lambda done, total: bands.append(total))
        finally:
            upscaler.close()
        whole = await backend.upscale(source.read_bytes(), None)
    finally:
        await backend.close()
    assert bands[-1] > 1
    assert target.read_bytes() == whole.body


async def test_without_companion_files_efforts_and_strengths_fall_back(
    networks: dict[str, LapSRN], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAPSRN_MORE_WEIGHTS", "")
    plain, medium, twice = await upscaled(PICTURE, {"clean": 0.0}, {"quality": "medium"}, {"ensemble": True})
    assert len({plain.body, medium.body, twice.body}) == 3
    (picture,) = Codec(build_formulas(), build_limits(Settings())).decode(PICTURE, UpscaleOptions(scale=4)).frames
    with torch.no_grad():
        luma = upscale_twice(networks["x4"].fold(), picture.luma)[-1]
    expected = merge(picture, [luma], 4, 8, build_formulas(), consistent=True).astype(int)
    assert np.abs(expected - opened(medium.body)).max() <= 1


async def test_a_reload_updates_the_relations_between_networks(folder: Path, tmp_path: Path) -> None:
    """A companion and its clean-up come, and go again, without a picture in between that has half of them."""
    for name in ("x4", "x8"):
        shutil.copy(folder / f"{name}.safetensors", tmp_path)
    settings = Settings(weights=tmp_path / "x4.safetensors", more_weights=(tmp_path,), dtype="float32")

    async def told(client: httpx.AsyncClient, query: str) -> tuple[str, str]:
        answer = await client.post(f"/upscale?{query}", content=PICTURE, headers={"Content-Type": "image/png"})
        if answer.status_code == 422:
            return "refused", answer.json()["detail"]
        return answer.headers["x-upscale-model"], answer.headers["x-upscale-clean"]

    async with running(create_app(settings)) as client:
        service = service_of(client)
        assert await told(client, "quality=high&clean=0") == ("x4", "0")
        assert (await told(client, "clean=0.5"))[0] == "refused"
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        await service.reload()
        assert await told(client, "quality=high&clean=0") == ("x4_deep", "0")
        assert await told(client, "clean=0.5") == ("x4_deep", "0.5")
        assert await told(client, "clean=0.5&scale=8") == ("x8_deep", "0.5")
        (tmp_path / "x8_deep.safetensors").unlink()
        await service.reload()
        assert await told(client, "quality=high&clean=0&scale=8") == ("x8", "0")
        assert (await told(client, "clean=0.5&scale=8"))[1].startswith("x8 has no clean-up.")
        assert (await told(client, "scale=8"))[1] == "0"
        (tmp_path / "x4_deep.safetensors").unlink()
        await service.reload()
        assert await told(client, "quality=high&clean=0") == ("x4", "0")
        assert (await told(client, "clean=0.5"))[1].startswith("x4 has no clean-up.")
        assert await told(client, "model=x4_end") == ("x4_end", "0")


def test_a_companion_that_does_not_fit_fails_the_start_in_one_line(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "x4.safetensors", tmp_path)
    save_weights(tmp_path / "other.safetensors", random_network(replace(PLAIN, scale=8)), deep={"of": "x4"})
    with pytest.raises(StartupError, match=r"^other is the deep companion of x4, but they have the scales .*$"):
        open_model(Settings(weights=tmp_path / "x4.safetensors", more_weights=(tmp_path,)), None)
