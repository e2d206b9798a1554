"""Weights files: round trips, and the message for each way in which a file can be wrong."""

import errno
import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.checkpoint import WeightsError, load_tensors, load_weights, save_tensors, save_weights
from model.network import LapSRN, LapSRNConfig
from model.weights import shapes
from tests.model.networks import random_network

CONFIG = LapSRNConfig(scale=4, depth=1, width=2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good weights file."""
    path = tmp_path / "tiny.safetensors"
    save_weights(path, random_network(CONFIG), recipe={"steps": 3}, data="noise")
    return path


Changes = dict[str, torch.Tensor | None]
GOOD = {"config": json.dumps(asdict(CONFIG))}


def rewrite(path: Path, metadata: dict[str, str], changes: Changes | None = None) -> None:
    """The same file with this metadata, and tensors put in or (None) taken out."""
    tensors = load_file(path) | (changes or {})
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, path, metadata)


def test_weights_and_their_metadata_round_trip(path: Path) -> None:
    network, info = load_weights(path)
    assert not network.training
    assert (info.config, info.recipe, info.data, info.scores) == (CONFIG, {"steps": 3}, "noise", {})
    assert info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    expected = random_network(CONFIG).state_dict()
    loaded = network.state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in expected.items())


def test_tensors_and_metadata_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    tensors = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.tensor(3)}
    save_tensors(path, tensors, {"step": 7, "nested": {"x": [1, "y", None]}})
    loaded, metadata = load_tensors(path)
    assert metadata == {"step": 7, "nested": {"x": [1, "y", None]}}
    assert {name: tensor.tolist() for name, tensor in loaded.items()} == {"a": [[0, 3], [1, 4], [2, 5]], "b": 3}
    assert [p.name for p in tmp_path.iterdir()] == ["state.safetensors"]


def test_equal_content_has_equal_bytes(tmp_path: Path) -> None:
    """The package writes metadata in the order of a hash table, which differs from process to process."""
    tensors = {name: torch.ones(size) for size, name in enumerate("bca")}
    as_written, contents = set(), set()
    path = tmp_path / "a.safetensors"
    for names in ("config", "gifnoc", "nocfig") * 7:
        save_file(tensors, path, dict.fromkeys(names, "ä"))
        as_written.add(path.read_bytes())
        save_tensors(path, tensors, dict.fromkeys(names, "ä"))
        contents.add(path.read_bytes())
        assert load_file(path)["a"].tolist() == [1, 1]
        assert load_tensors(path)[1] == dict.fromkeys("config", "ä")
    assert len(as_written) > 1, "this test would show nothing"
    assert len(contents) == 1


def test_a_failed_save_leaves_the_existing_file(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_weights(path, random_network(CONFIG, seed=1), recipe=object())
    assert path.read_bytes() == before


def message(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        load_weights(path)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text.replace(str(path), "PATH")


def test_a_missing_file_is_reported_with_how_to_get_one(tmp_path: Path) -> None:
    text = message(tmp_path / "none.safetensors")
    assert text == "no weights at PATH; train some with `python -m model.train` or restore it"


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\x80\x02}q\x00."], ids=["empty", "text", "pickle"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    text = message(path)
    assert text.startswith("PATH is not a readable safetensors file (")
    assert text.endswith("; restore it")


def test_a_truncated_file_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])
    assert message(path).startswith("PATH is not a readable safetensors file (")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert message(tmp_path) == "PATH is a folder; name a weights file in it"


@pytest.mark.parametrize(
    "config",
    [
        None,
        {"scale": 3, "depth": 1, "width": 2, "slope": 0.2},
        {"scale": 4, "depth": 0, "width": 2},
        {"scale": 4, "depth": 1, "width": 2, "colour": True},
        {"scale": 4.0, "depth": 1, "width": 2},
        {"scale": 4, "depth": 1.0, "width": 2},
        {"scale": 4, "depth": 1, "width": 2, "depths": "ab"},
        {"scale": 4, "depth": 1, "width": 2, "slope": "0.2"},
        {"scale": 4, "depth": 1, "width": 2, "slope": float("nan")},
        {"scale": 4, "depth": 1, "width": 2, "slope": 1.01},
        {"scale": 4, "depth": 1, "width": 2, "slope": -0.01},
        [4, 1, 2],
        "LapSRN",
    ],
    ids=[
        "none",
        "scale 3",
        "depth 0",
        "unknown field",
        "scale 4.0",
        "depth 1.0",
        "depths of text",
        "slope of text",
        "slope not a number",
        "slope above 1",
        "slope below 0",
        "list",
        "text",
    ],
)
def test_an_invalid_config_is_refused(path: Path, config: Any) -> None:
    rewrite(path, {} if config is None else {"config": json.dumps(config)})
    text = message(path)
    assert text.startswith("PATH has no usable LapSRN config (")
    assert text.endswith("; export it with model.train")


def test_metadata_that_is_not_json_is_refused(path: Path) -> None:
    rewrite(path, {"config": "{scale: 4"})
    assert message(path).startswith("PATH is not a readable safetensors file (")


@pytest.mark.parametrize(
    "changes",
    [
        {"levels.0.up.weight": torch.zeros(2, 3, 4, 4)},
        {"levels.1.residual.bias": None},
        {"surplus": torch.zeros(1)},
    ],
    ids=["wrong shape", "one missing", "one too many"],
)
def test_tensors_that_do_not_fit_the_config_are_refused(path: Path, changes: Changes) -> None:
    rewrite(path, GOOD, changes)
    assert message(path) == f"the tensors in PATH do not fit its config {CONFIG}; export it again"


@pytest.mark.parametrize("depth", [2, 10**12], ids=["2", "a depth that nothing could list"])
def test_a_config_of_another_network_is_refused(path: Path, depth: int) -> None:
    other = LapSRNConfig(scale=4, depth=depth, width=2)
    rewrite(path, {"config": json.dumps(asdict(other))})
    assert message(path) == f"the tensors in PATH do not fit its config {other}; export it again"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30, -1001.0])
def test_values_that_no_network_has_are_refused(path: Path, value: float) -> None:
    rewrite(path, GOOD, {"levels.0.up.bias": torch.tensor([0.0, value])})
    assert message(path) == "PATH holds values that are not finite or exceed ±1000; restore it"


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.int32, torch.bool], ids=str)
def test_values_in_another_dtype_are_refused(path: Path, dtype: torch.dtype) -> None:
    name = str(dtype).removeprefix("torch.")
    rewrite(path, GOOD, {"levels.0.up.bias": torch.zeros(2, dtype=dtype)})
    assert message(path) == f"PATH holds values in {name}, not in float32; export it again"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn], ids=str)
def test_values_in_a_dtype_that_numpy_lacks_are_refused(path: Path, dtype: torch.dtype) -> None:
    rewrite(path, GOOD, {"levels.0.up.bias": torch.zeros(2).to(dtype)})
    assert message(path).startswith("PATH ")


@pytest.mark.parametrize(("name", "scale"), [("lapsrn_x4", 4), ("lapsrn_x8", 8)])
def test_shipped_weights_have_the_documented_config(weights: Path, name: str, scale: int) -> None:
    _, info = load_weights(weights.with_stem(name))
    assert info.config == LapSRNConfig(scale=scale, depth=5, width=64)
    assert (info.recipe["depth"], info.recipe["scale"]) == (5, scale)
    assert (info.deep_of, info.full_strength_of, info.waypoint) == ("", "", None)


def test_the_shipped_deep_network_is_a_companion_with_a_clean_up_of_the_same_form(weights: Path) -> None:
    deep, end = (load_weights(weights.with_stem(name))[1] for name in ("lapsrn_x4_deep", "lapsrn_x4_deep_jpeg"))
    assert (deep.deep_of, deep.scales, deep.config.depths, deep.config.skips) == ("lapsrn_x4", (2, 4), (17, 3), True)
    assert (end.full_strength_of, end.config) == (deep.name, deep.config)


def test_the_shipped_x8_has_the_levels_of_the_shipped_x4(weights: Path) -> None:
    """So its pictures at x2 and x4 are the same ones."""
    first, second = (load_weights(weights.with_stem(name))[0].state_dict() for name in ("lapsrn_x4", "lapsrn_x8"))
    assert first.keys() < second.keys()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


@pytest.mark.parametrize("config", [LapSRNConfig(2, 1, 3), LapSRNConfig(4, 5, 8), LapSRNConfig(8, 2, 5)])
def test_the_expected_shapes_are_those_of_the_network(config: LapSRNConfig) -> None:
    assert shapes(config) == {name: tuple(each.shape) for name, each in LapSRN(config).state_dict().items()}


def test_a_full_disk_leaves_the_existing_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*tiny\.safetensors'"):
        save_tensors(path, {"a": torch.ones(3)}, {})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
