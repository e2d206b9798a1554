"""Weights files as the service reads them: parameters as NumPy arrays, and the description of the network."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from model.arithmetic import tile_flops
from model.config import LapSRNConfig

Parameters: TypeAlias = Mapping[str, NDArray[np.float32]]
"""By name, as in a weights file and in LapSRN's state_dict."""


KINDS = ("jpeg", "webp", "avif", "noise", "jpeg_noise", "area", "aliased")
"""What a picture may have been through; a network at full strength of clean-up says which strengths suit each.
`jpeg_noise` is noise that was compressed with losses afterwards.
"""


_LARGEST = 1000
"""A hundred times what trained networks have; far beyond, sums are infinite, and every picture would fail."""


class Waypoint(NamedTuple):
    """The place of a network that another one's clean-up passes through on the way to full strength.

    It is what `base` becomes at `strength`, above 0 and at most 1, for pictures that are `compressed` with losses, or
    for those that are not; networks between it and its neighbours are mixed.
    """

    base: str
    strength: float
    compressed: bool


class WeightsError(Exception):
    """A weights file is missing, corrupt, or not of a LapSRN; the message is one line that says what to do."""


@dataclass(frozen=True, slots=True)
class NetworkInfo:
    """Facts about a network: from its weights file, and where and how it runs (empty until it is put on a device)."""

    name: str
    """The name of the file without its ending."""
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
    full_strength_of: str = ""
    """The network that this one is at full strength of clean-up; "" if it is a network of its own."""
    strengths: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    """Of clean-up, 0 to 1, that suit each of KINDS: points (amount, strength), ascending. {} if it has no clean-up;
    kinds that were not measured are missing. The amount is the quality of compression, 0 to 100, the standard deviation
    of noise in levels of 255, or 0."""
    waypoint: Waypoint | None = None
    """Its place on another's way to full strength of clean-up; None if it has none."""
    waypoints: dict[str, str] = field(default_factory=dict)
    """The SHA-256 of the waypoints of its own clean-up, by name."""
    deep_of: str = ""
    """The network whose deep companion this one is: of the same scales, with more convolutions, for high quality and
    clean-up; "" if it is a network of its own."""
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

    def work(self, height: int, width: int, scale: int) -> int:
        """Operations for a tile's core of height x width at every level up to `scale`, its margins included."""
        return tile_flops(self.config, height, width, scale)


def read_safetensors(path: Path, framework: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tensors, as arrays of a framework ("np" or "pt"), and the metadata of a safetensors file.

    Raises WeightsError.
    """
    if path.is_dir():
        raise WeightsError(f"{path} is a folder; name a weights file in it")
    try:
        with safe_open(path, framework=framework) as file:
            metadata = {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118
    except FileNotFoundError:
        raise WeightsError(f"no weights at {path}; train some with `python -m model.train` or restore it") from None
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:  # or a dtype that numpy lacks
        raise WeightsError(f"{path} is not a readable safetensors file ({error}); restore it") from None


def read_weights(path: Path) -> tuple[dict[str, NDArray[np.float32]], NetworkInfo]:
    """The parameters of a weights file, checked, and its description. Raises WeightsError."""
    tensors, metadata = read_safetensors(path, "np")
    try:
        config = LapSRNConfig(**metadata["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} has no usable LapSRN config ({error}); export it with model.train") from None
    too_few = len(tensors) < 2 * sum(config.depth_of_levels)  # a depth of a billion is refused without listing it
    if too_few or {name: values.shape for name, values in tensors.items()} != shapes(config):
        raise WeightsError(f"the tensors in {path} do not fit its config {config}; export it again")
    if others := {str(values.dtype) for values in tensors.values()} - {"float32"}:
        raise WeightsError(f"{path} holds values in {', '.join(sorted(others))}, not in float32; export it again")
    if not all((np.abs(values) <= _LARGEST).all() for values in tensors.values()):
        raise WeightsError(f"{path} holds values that are not finite or exceed ±{_LARGEST}; restore it")
    kept = ("recipe", "data", "scores", "pictures", "purpose")
    about: dict[str, Any] = {key: metadata[key] for key in kept if key in metadata}
    about |= _clean_up(path, metadata.get("clean")) | _companion(path, metadata.get("deep"))
    return tensors, NetworkInfo(path.stem, config, hashlib.sha256(path.read_bytes()).hexdigest(), **about)


def _clean_up(path: Path, value: Any) -> dict[str, Any]:
    """The fields of NetworkInfo about clean-up. Raises WeightsError."""
    if value is None:
        return {}
    try:
        if "at" in value:
            if not 0 < float(value["at"]) <= 1 or not isinstance(value["compressed"], bool):
                raise ValueError("the strength of a waypoint is above 0 and at most 1, for pictures compressed or not")
            return {"waypoint": Waypoint(str(value["base"]), float(value["at"]), value["compressed"])}
        strengths = {
            kind: [(int(amount), float(each)) for amount, each in value["strengths"][kind]]
            for kind in KINDS
            if kind in value["strengths"]
        }
        sound = strengths and all(points and points == sorted(points) for points in strengths.values())
        if not sound or not all(0 <= each <= 1 for points in strengths.values() for _, each in points):
            raise ValueError("strengths are not from 0 to 1, or amounts not ascending")
        return {"full_strength_of": str(value["base"]), "strengths": strengths}
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"'clean' in the metadata of {path} is not valid ({error!r}); measure it again with bench.calibrate"
        ) from None


def _companion(path: Path, value: Any) -> dict[str, Any]:
    """The field of NetworkInfo about the network that this one is deep for. Raises WeightsError."""
    if value is None:
        return {}
    match value:
        case {"of": str(base)} if base not in ("", path.stem):
            return {"deep_of": base}
    raise WeightsError(
        f"'deep' in the metadata of {path} is not valid ({value!r}); export it again with model.export --deep-of"
    )


def shapes(config: LapSRNConfig) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter of a network, by name."""
    width, found = config.width, dict[str, tuple[int, ...]]()
    for i, depth in enumerate(config.depth_of_levels):
        level = f"levels.{i}"
        for j in range(depth):
            found[f"{level}.convs.{j}"] = (width, 1 if i == j == 0 else width, 3, 3)
        found[f"{level}.up"] = (width, width, 4, 4)
        found[f"{level}.residual"] = (1, width, 3, 3)
    images: dict[str, tuple[int, ...]] = {f"levels.{i}.image_up.weight": (1, 1, 4, 4) for i in range(config.levels)}
    weights = {f"{name}.weight": shape for name, shape in found.items()}
    return weights | {f"{name}.bias": shape[:1] for name, shape in found.items()} | images
