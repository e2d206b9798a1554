"""Weights on disk: safetensors with the network's config, recipe, data and scores in the metadata; no pickle."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from model.network import LapSRN, LapSRNConfig


class WeightsError(Exception):
    """A weights file is missing, corrupt, or not of a LapSRN; the message is one line that says what to do."""


@dataclass(frozen=True, slots=True)
class NetworkInfo:
    """Facts about a network: from its weights file, and where and how it runs (empty until it is put on a device)."""

    name: str
    """The file's, without its ending."""
    config: LapSRNConfig
    sha256: str
    """Of the file, in hexadecimal."""
    recipe: dict[str, Any] = field(default_factory=dict)
    """What it was trained with."""
    data: str = ""
    """What it was trained on, in words."""
    scores: dict[str, Any] = field(default_factory=dict)
    """{"Set5": {"4": {"psnr": dB, "ssim": 0..1, "bicubic_psnr": dB, "bicubic_ssim": 0..1}}}."""
    pictures: dict[str, Any] = field(default_factory=dict)
    """Which pictures a run learnt from and which it held out; see model.training.patches.PatchSource.about."""
    purpose: str = ""
    """What it does besides enlarging, as the page offers it; "" if nothing."""
    device: str = ""
    dtype: str = ""
    """Of the features."""
    backend: str = ""
    window_margin: int = 0
    """Source pixels that a tile has on each side of its core; at least the margin."""

    @property
    def scales(self) -> tuple[int, ...]:
        """The enlargements that one pass gives, ascending."""
        return self.config.scales

    @property
    def margin(self) -> int:
        """Source pixels that an output pixel can see on each side."""
        return self.config.margin


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and JSON metadata, all or nothing: a crash leaves the file that was there."""
    partial = path.with_name(path.name + ".partial")
    text = {key: json.dumps(value, sort_keys=True) for key, value in metadata.items()}
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, metadata=text)
    partial.write_bytes(in_order(data))
    partial.replace(path)


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
    try:
        with safe_open(path, framework="pt") as file:
            metadata = {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118
    except FileNotFoundError:
        raise WeightsError(f"no weights at {path}; train some with `python -m model.train` or restore it") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path} is not a readable safetensors file ({error}); restore it") from None


def save_weights(path: Path, network: LapSRN, **about: Any) -> None:
    """Export a network; `about` is recipe, data, scores and purpose, anything JSON holds."""
    save_tensors(path, network.state_dict(), {"config": asdict(network.config), **about})


def load_weights(path: Path) -> tuple[LapSRN, NetworkInfo]:
    """The network of a weights file, in eval mode, and what the file says of itself. Raises WeightsError."""
    tensors, metadata = load_tensors(path)
    try:
        config = LapSRNConfig(**metadata["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} has no usable LapSRN config ({error}); export it with model.train") from None
    network = LapSRN(config)
    try:
        network.load_state_dict(tensors)
    except RuntimeError:
        raise WeightsError(f"the tensors in {path} do not fit its config {config}; export it again") from None
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise WeightsError(f"{path} holds values that are not finite; restore it")
    about = {key: metadata[key] for key in ("recipe", "data", "scores", "pictures", "purpose") if key in metadata}
    return network.eval(), NetworkInfo(path.stem, config, hashlib.sha256(path.read_bytes()).hexdigest(), **about)
