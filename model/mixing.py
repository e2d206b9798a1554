"""Networks between two of one form: the mean of their parameters, weighted by how strongly to clean up.

Deep network interpolation (Wang et al., "Deep Network Interpolation for Continuous Imagery Effect Transition", CVPR
2019): where the training of one network began at the other, the networks between do what is between.
"""

import numpy as np
from numpy.typing import NDArray

from model.weights import Parameters


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
