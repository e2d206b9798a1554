"""From weights files to runtimes: several networks on one device, shared weights, and their metadata."""

import gc
import hashlib
import json
import weakref
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from model.checkpoint import save_weights
from model.network import LapSRNConfig
from model.runtime import Weights, load
from tests.model.networks import SHARED, luma, random_network, runtime_at, runtime_of


def test_networks_loaded_together_give_the_same_results_as_alone(tmp_path: Path) -> None:
    """Each gives the same as alone, whichever ran before."""
    files = []
    for name, scale in (("first", 4), ("second", 8), ("third", 4)):
        files.append(tmp_path / f"{name}.safetensors")
        save_weights(files[-1], random_network(LapSRNConfig(scale=scale, depth=2, width=3), seed=len(files)))
    together = load([Weights.open(file) for file in files], "cpu", "float32")
    assert list(together) == [each.info.name for each in together.values()] == ["first", "second", "third"]
    assert [each.info.scales[-1] for each in together.values()] == [4, 8, 4]
    for file, mine in zip(files, together.values(), strict=True):
        margin, scale = mine.info.window_margin, mine.info.scales[-1]
        tiles = luma(1, 16 + 2 * margin, 11 + 2 * margin).numpy()
        for level, alone in runtime_at(file, "float32").run(tiles, scale).items():
            np.testing.assert_array_equal(mine.run(tiles, scale)[level], alone)


@SHARED
def test_cpu_workers_share_weights_while_they_are_needed(tmp_path: Path, backend: str, dtype: str) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, random_network(LapSRNConfig(depth=2, width=3)))
    weights = [Weights.open(path)]
    (first,), (second,) = (load(weights, "cpu", dtype, backend=backend).values() for _ in range(2))
    assert first is not second
    assert first._plain.served is second._plain.served
    kept = weakref.ref(first._plain.served)
    save_weights(path, random_network(LapSRNConfig(depth=2, width=3), seed=1))
    other = runtime_at(path, dtype, backend)
    assert other._plain.served is not first._plain.served, "the file has changed"
    assert other.info.sha256 != first.info.sha256
    tiles = luma(1, 20, 20).numpy()
    expected = first.run(tiles, 4)[4]
    del first
    np.testing.assert_array_equal(second.run(tiles, 4)[4], expected)
    del second, weights
    gc.collect()
    assert kept() is None


def test_a_file_is_read_once_for_all_workers(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, random_network(LapSRNConfig(depth=2, width=3)))
    weights = [Weights.open(path)]
    path.unlink()
    first, second = (load(weights, "cpu", "float32", backend=backend)["w"] for backend in ("torch", "torch"))
    assert first.info == second.info


def test_network_info_is_read_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "tiny_x8.safetensors"
    network = random_network(LapSRNConfig(scale=8, depth=2, width=3))
    scores = {"Set5": {"4": {"psnr": 31.5, "ssim": 0.88}}}
    save_weights(path, network, recipe={"steps": 7}, data="two pictures", scores=scores, purpose="Clean up")
    threads = torch.get_num_threads()
    loaded = load([Weights.open(path)], "cpu", "float32", threads)["tiny_x8"]
    info = loaded.info
    assert (info.name, info.device, info.dtype) == ("tiny_x8", "cpu", "float32")
    assert (info.scales, info.margin) == ((2, 4, 8), network.config.margin)
    tiles = luma(1, 20, 20).numpy()
    expected = runtime_of(network, "float32", info.backend).run(tiles, 8)
    for scale, output in loaded.run(tiles, 8).items():
        np.testing.assert_array_equal(output, expected[scale])
    about = asdict(info)
    assert about == {
        "name": "tiny_x8",
        "config": asdict(network.config),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "recipe": {"steps": 7},
        "pictures": {},
        "data": "two pictures",
        "scores": scores,
        "purpose": "Clean up",
        "full_strength_of": "",
        "strengths": {},
        "waypoint": None,
        "waypoints": {},
        "deep_of": "",
        "device": "cpu",
        "dtype": "float32",
        "backend": info.backend,
        "window_margin": info.window_margin,
    }
    json.dumps(about)  # it goes out over HTTP
