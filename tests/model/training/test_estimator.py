"""The estimator of noise and shrinking: what it learns from, and a file that the service reads."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from app.codec.history.estimator import Estimator as Served
from bench.pictures import photograph
from model.checkpoint import save_tensors
from model.training.estimator import (
    STRIDES,
    TILE,
    TILES,
    WAYS,
    Estimator,
    Material,
    drawing,
    main,
    restored,
    texture,
    variants_of,
)


def test_every_large_picture_gives_variants_of_every_kind() -> None:
    found = variants_of(photograph(400, 420)[..., 0], seed=3)
    assert {WAYS[way] for way, _ in found} == set(WAYS)
    assert all(min(picture.shape) >= TILE and picture.dtype == np.uint8 for _, picture in found)
    assert variants_of(photograph(63, 400)[..., 0], seed=3) == []


def test_drawings_have_few_grays_and_differ() -> None:
    one, other = drawing(1), drawing(2)
    assert one.shape == other.shape
    assert (one != other).any()
    np.testing.assert_array_equal(one, drawing(1))
    assert np.sort(np.bincount(one.ravel(), minlength=256))[-4:].sum() > 0.9 * one.size


def test_textures_have_no_edges_and_differ() -> None:
    one, other = texture(1), texture(3)
    assert (one != other).any()
    np.testing.assert_array_equal(one, texture(1))
    assert 5 < one.std() < 70


def test_noise_labels_of_a_step_match_its_tiles() -> None:
    material = Material([(way, np.full((80, 96), 128, np.uint8)) for way in range(len(WAYS))])
    told, made = [], []
    for _ in range(5):
        group, tiles, ways, sigmas = material.step()
        assert tiles.shape == (TILES, 1, TILE, TILE)
        assert len(ways) == len(sigmas) == TILES // group
        noise = (tiles * (255 * 255 / 219)).view(-1, group * TILE * TILE).std(1)
        assert noise[sigmas == 0].max() < 0.1
        told += sigmas.tolist()
        made += noise.tolist()
    assert np.corrcoef(told, made)[0, 1] > 0.8  # not 1: some became JPEGs after


def test_the_estimate_depends_on_all_tiles_of_a_group_and_not_on_brightness() -> None:
    torch.manual_seed(0)
    network, tiles = Estimator(), torch.rand(4, 1, 40, 40)
    with torch.no_grad():
        both = network(tiles, 2)
        assert both.shape == (2, len(WAYS) + 1)
        torch.testing.assert_close(network(tiles[[1, 0, 3, 2]], 2), both)
        torch.testing.assert_close(network(tiles + 0.25, 2), both, rtol=0, atol=1e-3)
        assert not torch.allclose(network(tiles, 4)[0], both[0])


def test_a_run_writes_a_file_that_the_service_can_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        Image.fromarray(photograph(270, 300, number)).save(tmp_path / f"{number}.png")
    main(["--data", str(tmp_path), "--to", str(tmp_path / "e.safetensors"), "--steps", "3", "--made-up", "2"])
    served = Served.open(tmp_path / "e.safetensors")
    found = served.of([np.random.default_rng(0).random((TILE, TILE), np.float32)])
    assert found is not None
    assert list(found.ways) == list(WAYS)
    assert sum(found.ways.values()) == pytest.approx(1)
    assert served.least_side == 15
    assert len(STRIDES) == 4


def test_training_goes_on_from_an_estimator_that_knew_fewer_ways(tmp_path: Path) -> None:
    """The old ways are as probable as before, beside each other; the new one begins as improbable."""
    torch.manual_seed(0)
    old, kept = Estimator(), [way for way in WAYS if way != "aliased"]
    rows = [WAYS.index(way) for way in kept] + [len(WAYS)]
    tensors = dict(old.state_dict())
    tensors |= {name: tensors[name][rows] for name in ("answer.weight", "answer.bias")}
    save_tensors(tmp_path / "old.safetensors", tensors, {"ways": kept})
    tiles = torch.rand(2, 1, 40, 40)
    with torch.no_grad():
        before, after = old(tiles), restored(tmp_path / "old.safetensors")(tiles)
    torch.testing.assert_close(after[:, rows], before[:, rows])
    assert (after[:, :-1].softmax(1)[:, WAYS.index("aliased")] < 0.01).all()


def test_a_folder_without_pictures_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no pictures below"):
        main(["--data", str(tmp_path), "--to", str(tmp_path / "e.safetensors")])
