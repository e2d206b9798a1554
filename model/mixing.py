"""Networks between two of one architecture: the mean of their parameters, weighted by the strength of clean-up.

Deep network interpolation (Wang et al., "Deep Network Interpolation for Continuous Imagery Effect Transition", CVPR
2019): if one network was trained from the other, those between have effects between theirs.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.weights import Parameters


@dataclass(frozen=True, slots=True)
class Line:
    """Networks of one architecture by strength: some are given, the others are means of the two nearest.

    `strengths` ascend from 0 to 1, one for each of `networks`.
    """

    strengths: tuple[float, ...]
    networks: tuple[Parameters, ...]

    @classmethod
    def through(cls, stops: Mapping[float, Parameters]) -> Self:
        """The line through the networks at these strengths."""
        strengths = tuple(sorted(stops))
        return cls(strengths, tuple(stops[strength] for strength in strengths))

    def at(self, strength: float) -> Parameters:
        """The network at a strength of 0 to 1."""
        return mixed(*self.between(strength))

    def between(self, strength: float) -> tuple[Parameters, Parameters, float]:
        """The given networks on both sides of a strength of 0 to 1, and the weight of the second, 0 to 1.

        Both are the same at the strength of a given network. Raises ValueError for strengths out of range.
        """
        for i, (near, far) in enumerate(itertools.pairwise(self.strengths)):
            if near <= strength < far:
                return self.networks[i], self.networks[i + (strength > near)], (strength - near) / (far - near)
        if strength == self.strengths[-1]:
            return self.networks[-1], self.networks[-1], 0.0
        raise ValueError(f"a strength of clean-up is from 0 to 1, not {strength}")


def begins_as(network: Parameters, base: Parameters) -> bool:
    """Whether every parameter of `base` is in `network`, bit for bit: its first levels are those of `base`."""
    return all(name in network and np.array_equal(network[name], values) for name, values in base.items())


def mixed(network: Parameters, end: Parameters, strength: float) -> dict[str, NDArray[np.float32]]:
    """`network` at strength 0, `end` at 1, and the weighted mean between; what `end` lacks stays as it is."""

    def between(values: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
        mean: NDArray[np.float32] = (values * (1 - np.float64(strength)) + others * np.float64(strength)).astype(
            np.float32
        )
        return mean

    return {name: between(values, end[name]) if name in end else values for name, values in network.items()}
