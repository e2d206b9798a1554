"""Weights on disk: safetensors with the network's config, recipe, data and scores in the metadata; no pickle."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.network import LapSRN, LapSRNConfig

KINDS = ("jpeg", "webp", "avif")
"""Kinds of compression for which a network at full strength of clean-up says which strength suits."""


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
    purpose: str = ""
    """What it does besides enlarging, as the page offers it; "" if nothing."""
    full_strength_of: str = ""
    """The network that this one is at full strength of clean-up; "" if it is a network of its own."""
    strengths: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    """Of clean-up, 0 to 1, that suit a kind of compression ("jpeg", "webp", "avif"): points (quality, strength) with
    qualities from 0 to 100, ascending; {} if it has no clean-up."""
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
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, partial, metadata=text)
    partial.chmod(0o644)  # safetensors makes files that only their owner may read
    partial.replace(path)


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
    """Export a network; `about` is recipe, data, scores, purpose and clean, anything JSON holds.

    `clean` is {"base": NAME, "strengths": {...}} for a network that is another at full strength of clean-up; see
    NetworkInfo. bench.calibrate measures and writes it.
    """
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
    about: dict[str, Any] = {key: metadata[key] for key in ("recipe", "data", "scores", "purpose") if key in metadata}
    about |= _clean_up(path, metadata.get("clean"))
    return network.eval(), NetworkInfo(path.stem, config, hashlib.sha256(path.read_bytes()).hexdigest(), **about)


def _clean_up(path: Path, told: Any) -> dict[str, Any]:
    """The fields of NetworkInfo about clean-up. Raises WeightsError."""
    if told is None:
        return {}
    try:
        strengths = {kind: [(int(quality), float(each)) for quality, each in told["strengths"][kind]] for kind in KINDS}
        sound = all(points and points == sorted(points) for points in strengths.values())
        if not sound or not all(0 <= each <= 1 for points in strengths.values() for _, each in points):
            raise ValueError("strengths are not from 0 to 1, or qualities not ascending")
        return {"full_strength_of": str(told["base"]), "strengths": strengths}
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{path} describes its clean-up wrongly ({error!r}); make it again with bench.calibrate"
        ) from None
