"""Estimates from pixels how a picture was shrunk, and how noisy it is, by a small trained network.

Four convolutions over a few tiles, of which only moments are kept: the logarithms of the mean and the mean square of
every feature, so that contrast and content matter little. Two layers more make of them the probability of each way of
shrinking, and the noise. model/training/estimator.py trains it; estimator.c does the convolutions in C.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from app.codec.native import library
from app.codec.types import Plane

_LANES = 8
_FILE = Path(__file__).parent / "estimator.safetensors"

Floats = NDArray[np.float32]
Parameters = Mapping[str, Floats]


class Estimate(NamedTuple):
    """`ways`: probabilities of the ways in which a picture may have been shrunk; `sigma` of noise, in levels of 255."""

    ways: Mapping[str, float]
    sigma: float


class _Layer(NamedTuple):
    kernel: Floats
    """(out, in, side, side)"""
    bias: Floats
    stride: int

    @property
    def side(self) -> int:
        return int(self.kernel.shape[-1])


class Estimator:
    """The network; thread-safe.

    parameters: as trained, by name. ways: names of the answers. strides: of the convolutions. gain: what luma in 0..1
    is multiplied by. floors: below which the logarithms of a mean and of a mean square stay.
    """

    def __init__(
        self,
        parameters: Parameters,
        ways: Sequence[str],
        strides: Sequence[int],
        gain: float,
        floors: tuple[float, float],
    ) -> None:
        names = [f"convolutions.{number}" for number in range(len(strides))]
        kernels = [parameters[f"{name}.weight"] for name in names]
        kernels[0] = (kernels[0] - kernels[0].mean((2, 3), keepdims=True)) * np.float32(gain)
        self._layers = [
            _Layer(kernel, parameters[f"{name}.bias"], stride)
            for kernel, name, stride in zip(kernels, names, strides, strict=True)
        ]
        self._dense = [(parameters[f"{name}.weight"], parameters[f"{name}.bias"]) for name in ("hidden", "answer")]
        self._ways, self._floors = tuple(ways), floors
        self._shapes = np.array(
            [(each.side, each.stride, *each.kernel.shape[1::-1]) for each in self._layers], np.int32
        )
        self._packed = np.concatenate([_packed(each.kernel, each.bias) for each in self._layers])
        self.least_side = 1
        """Pixels of a side that the convolutions need."""
        for each in reversed(self._layers):
            self.least_side = (self.least_side - 1) * each.stride + each.side

    @classmethod
    def open(cls, path: Path) -> Self:
        """The network of a file."""
        with safe_open(path, framework="np") as file:
            parameters = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            about = {key: json.loads(value) for key, value in file.metadata().items()}
        return cls(parameters, about["ways"], about["strides"], about["gain"], about["floors"])

    def of(self, tiles: Sequence[Plane]) -> Estimate | None:
        """The estimate from tiles (H, W) of a picture, luma in units of full scale, studio range up to a constant.

        None if no tile has `least_side` rows and columns.
        """
        tiles = [tile for tile in tiles if min(tile.shape) >= self.least_side]
        if not tiles:
            return None
        found = np.maximum(self._times(0, self._moments(tiles)), 0)
        *scores, noise = self._times(1, found)
        odds = np.exp(np.array(scores) - max(scores))
        ways = dict(zip(self._ways, (odds / odds.sum()).tolist(), strict=True))
        return Estimate(ways, max(0.0, float(np.expm1(noise))))

    def _times(self, layer: int, values: NDArray[np.float64]) -> NDArray[np.float64]:
        weight, bias = self._dense[layer]
        product: NDArray[np.float64] = weight.astype(np.float64) @ values + bias
        return product

    def _moments(self, tiles: Sequence[Plane]) -> NDArray[np.float64]:
        """Logarithms of every layer's means and mean squares."""
        parts = [np.ascontiguousarray(tile, np.float32) for tile in tiles]
        if (native := library()) is None:
            sums = np.sum([self._sums(part) for part in parts], axis=0)
        else:
            sums = np.zeros(2 * sum(len(each.bias) for each in self._layers))
            where = np.array([part.ctypes.data for part in parts], np.uintp)
            sides = np.array([part.shape for part in parts], np.uintp)
            network = self._shapes.ctypes.data, len(self._layers), self._packed.ctypes.data, sums.ctypes.data
            if native.estimator_moments(where.ctypes.data, sides.ctypes.data, len(parts), *network):
                raise MemoryError("no memory to look for how a picture was shrunk")
        found, shapes = [], [np.array(tile.shape) for tile in tiles]
        for layer in self._layers:
            shapes = [(shape - layer.side) // layer.stride + 1 for shape in shapes]
            here, sums = np.split(sums, [2 * len(layer.bias)])
            mean, square = np.split(here / sum(int(shape.prod()) for shape in shapes), 2)
            found += [np.log(mean + self._floors[0]), np.log(square + self._floors[1]) / 2]
        return np.concatenate(found)

    def _sums(self, values: Floats) -> NDArray[np.float64]:
        """As estimator_moments adds them."""
        found = []
        for layer in self._layers:
            values = values.reshape(*values.shape[:2], -1)
            sides = (layer.side, layer.side)
            windows = np.lib.stride_tricks.sliding_window_view(values, sides, axis=(0, 1))
            windows = windows[:: layer.stride, :: layer.stride]
            values = np.maximum(np.tensordot(windows, layer.kernel, ((2, 3, 4), (1, 2, 3))) + layer.bias, 0)
            found += [values.sum((0, 1), dtype=np.float64), np.square(values).sum((0, 1), dtype=np.float64)]
        return np.concatenate(found)


@cache
def shipped() -> Estimator:
    """The one that comes with the service."""
    return Estimator.open(_FILE)


def _packed(kernel: Floats, bias: Floats) -> Floats:
    """As estimator.c wants a layer: (out / lanes, side, side, in, lanes), then biases."""
    out, channels, side, _ = kernel.shape
    blocks = kernel.reshape(out // _LANES, _LANES, channels, side, side).transpose(0, 3, 4, 2, 1)
    return np.concatenate([blocks.ravel(), bias])
