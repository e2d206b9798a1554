"""Weights on disk: safetensors with the network's config, recipe, data and scores in the metadata; no pickle."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from model.files import replacing
from model.network import LapSRN
from model.weights import NetworkInfo as NetworkInfo
from model.weights import Parameters, read_safetensors, read_weights
from model.weights import WeightsError as WeightsError


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Writes tensors and JSON metadata, all or nothing: a crash leaves the file that was there. Raises OSError."""
    text = {key: json.dumps(value, sort_keys=True) for key, value in metadata.items()}
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, metadata=text)
    with replacing(path) as file:
        file.write(in_order(data))


def in_order(data: bytes) -> bytes:
    """A safetensors file with its header in alphabetical order: equal content then has equal bytes.

    The package writes metadata in an order that differs from process to process.
    """
    size = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + size]), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    text = header.encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and metadata of `save_tensors`. Raises WeightsError."""
    return read_safetensors(path, "pt")


def save_weights(path: Path, network: LapSRN, **about: Any) -> None:
    """Export a network; `about` is recipe, data, scores, purpose, clean and deep, anything JSON holds.

    `clean` is {"base": NAME, "strengths": {...}} for a network that is another at full strength of clean-up, as
    bench.calibrate measures and writes it, and {"base": NAME, "at": STRENGTH, "compressed": BOOL} for a waypoint;
    `deep` is {"of": NAME} for the deep companion of a network. See NetworkInfo.
    """
    save_tensors(path, network.state_dict(), {"config": asdict(network.config), **about})


def parameters_of(network: LapSRN) -> Parameters:
    """A network's parameters as NumPy arrays, as a backend is given them."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}


def load_weights(path: Path) -> tuple[LapSRN, NetworkInfo]:
    """The network of a weights file, in eval mode, and its description. Raises WeightsError."""
    parameters, info = read_weights(path)
    network = LapSRN(info.config)
    network.load_state_dict({name: torch.from_numpy(values) for name, values in parameters.items()})
    return network.eval(), info
