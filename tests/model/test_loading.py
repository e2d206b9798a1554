"""From a weights file to what runs: companions, and shared weights."""

import gc
import hashlib
import json
import weakref
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from model.checkpoint import save_weights
from model.network import LapSRNConfig
from model.runtime import Runtime, describe, load
from tests.model.networks import AMX, luma, random_network


def test_load_with_companions(tmp_path: Path) -> None:
    """Each is what it is alone, whoever ran before."""
    files = []
    for name, scale in (("first", 4), ("second", 8), ("third", 4)):
        files.append(tmp_path / f"{name}.safetensors")
        save_weights(files[-1], random_network(LapSRNConfig(scale=scale, depth=2, width=3), seed=len(files)))
    together = load(files[0], "cpu", "float32", companions=files[1:])
    assert [each.name for each in (together, *together.companions)] == ["first", "second", "third"]
    assert [each.scales[-1] for each in (together, *together.companions)] == [4, 8, 4]
    for file, mine in zip(files, (together, *together.companions), strict=True):
        tiles = luma(1, 16 + 2 * mine.margin, 11 + 2 * mine.margin).numpy()
        for scale, level in load(file, "cpu", "float32").run(tiles, mine.scales[-1]).items():
            np.testing.assert_array_equal(mine.run(tiles, mine.scales[-1])[scale], level)


@pytest.mark.parametrize(("backend", "dtype"), [("torch", "float32"), AMX])
def test_workers_of_a_cpu_share_weights_as_long_as_they_are_needed(tmp_path: Path, backend: str, dtype: str) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, random_network(LapSRNConfig(depth=2, width=3)))
    first, second = (load(path, "cpu", dtype, backend=backend, companions=[path]) for _ in range(2))
    assert first is not second
    assert first._served is second._served
    assert first.companions[0] is not second.companions[0]
    assert not first.companions[0].companions
    assert first.original is not None
    kept = weakref.ref(first.original)
    save_weights(path, random_network(LapSRNConfig(depth=2, width=3), seed=1))
    other = load(path, "cpu", dtype, backend=backend)
    assert other._served is not first._served, "the file has changed"
    tiles = luma(1, 20, 20).numpy()
    expected = first.run(tiles, 4)[4]
    del first
    np.testing.assert_array_equal(second.run(tiles, 4)[4], expected)
    del second
    gc.collect()
    assert kept() is None


def test_load_and_describe(tmp_path: Path) -> None:
    path = tmp_path / "tiny_x8.safetensors"
    network = random_network(LapSRNConfig(scale=8, depth=2, width=3))
    scores = {"Set5": {"4": {"psnr": 31.5, "ssim": 0.88}}}
    save_weights(path, network, recipe={"steps": 7}, data="two pictures", scores=scores)
    threads = torch.get_num_threads()
    loaded = load(path, "cpu", "float32", threads=threads)
    assert (loaded.name, loaded.device, loaded.dtype) == ("tiny_x8", "cpu", "float32")
    assert (loaded.scales, loaded.margin) == ((2, 4, 8), network.config.margin)
    tiles = luma(1, 20, 20).numpy()
    expected = Runtime(network, "", "cpu", "float32", loaded.backend).run(tiles, 8)
    for scale, output in loaded.run(tiles, 8).items():
        np.testing.assert_array_equal(output, expected[scale])
    about = describe(path)
    assert about == {
        "name": "tiny_x8",
        "scales": [2, 4, 8],
        "margin": network.config.margin,
        "config": asdict(network.config),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "recipe": {"steps": 7},
        "data": "two pictures",
        "scores": scores,
    }
    json.dumps(about)  # it goes out over HTTP
