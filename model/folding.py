"""LapSRN's folded form (model.folded) in NumPy, from the parameters of a weights file: what kernels in C are given.

The same formulas as LapSRN.fold and `centred`, which training needs in torch; in float64.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.config import NEIGHBOURS, LapSRNConfig
from model.weights import Parameters

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Conv:
    """A valid convolution: weight (O, C, k, k) and bias (O,)."""

    weight: Array
    bias: Array


@dataclass(frozen=True, slots=True)
class Level:
    """As model.folded.FoldedLevel."""

    convs: tuple[Conv, ...]
    residual: Conv
    following: Conv | None
    image: Conv


@dataclass(frozen=True, slots=True)
class Folded:
    """As model.folded.FoldedLapSRN."""

    entry: Conv
    levels: tuple[Level, ...]
    margin: int
    slope: float
    skips: bool = False


def fold(parameters: Parameters, config: LapSRNConfig) -> Folded:
    """The network with each transposed convolution merged into what follows it, and with residuals around zero."""

    def conv(name: str) -> Conv:
        return Conv(*(parameters[f"{name}.{part}"].astype(np.float64) for part in ("weight", "bias")))

    first = conv("levels.0.convs.0")
    zero_mean = first.weight - first.weight.mean(axis=(-2, -1), keepdims=True)
    entry = Conv(np.stack([zero_mean[:, 0, y, x] for y, x in NEIGHBOURS], axis=1)[:, :, None, None], first.bias)
    levels = []
    for i, depth in enumerate(config.depth_of_levels):
        up, residual = conv(f"levels.{i}.up"), conv(f"levels.{i}.residual")
        convs = tuple(conv(f"levels.{i}.convs.{j}") for j in range(1, depth))
        after = conv(f"levels.{i + 1}.convs.0") if i + 1 < config.levels else None
        following = None if after is None else _phases_first(_compose(up, after))
        image = _image(parameters[f"levels.{i}.image_up.weight"].astype(np.float64))
        levels.append(Level(convs, _compose(up, residual), following, image))
    return _centred(Folded(entry, tuple(levels), config.margin, config.slope, config.skips))


def _compose(up: Conv, conv: Conv) -> Conv:
    """One 3x3 kernel to four phases for a transposed convolution and then `conv`: model.folded.compose."""
    product = np.tensordot(conv.weight, up.weight, axes=(1, 1))  # (o, u, v, c, k, l)
    taps = np.zeros((2, 3, 4, 3))  # (a, u, k, d + 1)
    for a in range(2):
        for u in range(3):
            for k in range((a + u) % 2, 4, 2):
                taps[a, u, k, (a + u - k) // 2 + 1] = 1
    rows = np.tensordot(product, taps, axes=([1, 4], [1, 2]))  # (o, v, c, l, a, d)
    both = np.tensordot(rows, taps, axes=([1, 3], [1, 2]))  # (o, c, a, d, b, e)
    outputs, inputs = both.shape[:2]
    weight = both.transpose(0, 2, 4, 1, 3, 5).reshape(4 * outputs, inputs, 3, 3)
    bias = conv.bias + conv.weight.sum(axis=(2, 3)) @ up.bias
    return Conv(weight, bias.repeat(4))


def _image(kernel: Array) -> Conv:
    """The image's upsampling by a kernel (1, 1, 4, 4) whose phases are shifted to sum to one, as a convolution."""
    phases = kernel.reshape(1, 1, 2, 2, 2, 2)
    kernel = (phases + (1 - phases.sum(axis=(2, 4), keepdims=True)) / 4).reshape(kernel.shape)
    identity = np.zeros((1, 1, 3, 3))
    identity[0, 0, 1, 1] = 1
    return _compose(Conv(kernel, np.zeros(1)), Conv(identity, np.zeros(1)))


def _phases_first(conv: Conv) -> Conv:
    """Output channels (o, phase) in the order (phase, o)."""
    outputs = len(conv.weight) // 4
    weight = conv.weight.reshape(outputs, 4, *conv.weight.shape[1:]).swapaxes(0, 1)
    return Conv(weight.reshape(conv.weight.shape), conv.bias.reshape(outputs, 4).T.reshape(-1))


def _centred(network: Folded) -> Folded:
    """Biases of residuals minus what a flat picture gets, which is subtracted anyway: model.folded.centred."""
    levels = []
    features = _leaky(network.entry.bias, network.slope)[:, None, None]
    for level in network.levels:
        features = _through(level.convs, features, network)
        flat = _periodic(level.residual, features).mean(axis=(1, 2))
        residual = Conv(level.residual.weight, level.residual.bias - flat)
        levels.append(Level(level.convs, residual, level.following, level.image))
        if level.following is not None:
            phases = _leaky(_periodic(level.following, features), network.slope)
            side = 2 * phases.shape[1]
            planes = phases.reshape(2, 2, -1, side // 2, side // 2).transpose(2, 3, 0, 4, 1)
            features = planes.reshape(-1, side, side)
    return replace(network, levels=tuple(levels))


def _through(convs: tuple[Conv, ...], features: Array, network: Folded) -> Array:
    """Periodic features after a level's convolutions: model.folded.FoldedLapSRN._through."""
    start = features
    for i, conv in enumerate(convs):
        out = _periodic(conv, features)
        if network.skips and i % 2:
            features = start = start + out
        else:
            features = _leaky(out, network.slope)
    return features


def _periodic(conv: Conv, features: Array) -> Array:
    """A convolution of periodic features: one period (C, p, p) to one period (O, p, p)."""
    out = np.zeros((len(conv.weight), *features.shape[1:]))
    for y in range(3):
        for x in range(3):
            out += np.tensordot(conv.weight[:, :, y, x], np.roll(features, (1 - y, 1 - x), (1, 2)), axes=1)
    return out + conv.bias[:, None, None]


def _leaky(values: Array, slope: float) -> Array:
    return np.where(values < 0, slope * values, values)
