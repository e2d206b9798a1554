"""Colour under fully transparent pixels, taken from the visible ones around, so that no fringe grows at an edge."""

import numpy as np
from numpy.typing import NDArray

from app.codec.types import Plane


def bled(planes: list[Plane], visible: NDArray[np.bool_]) -> list[Plane]:
    """The planes with every invisible pixel replaced by a mean of visible ones near it; visible ones stay bit for bit.

    A pyramid: each level is the mean of the visible pixels of 2 x 2 below, up to one pixel; holes are then filled
    from the level above (pull-push, Gortler et al., The Lumigraph, 1996, section 3.4). Linear in the pixels.
    """
    if visible.all() or not visible.any():
        return planes
    weight = visible.astype(np.float32)
    return [np.where(visible, plane, _filled(plane * weight, weight)) for plane in planes]


def _filled(total: Plane, weight: Plane) -> Plane:
    """Means (H, W) without holes from sums of visible values and their weights."""
    mean: Plane = np.divide(total, np.maximum(weight, np.float32(1e-30)), dtype=np.float32)
    if weight.all():
        return mean
    above = _filled(_halved(total), _halved(weight))
    spread = above.repeat(2, axis=0).repeat(2, axis=1)[: weight.shape[0], : weight.shape[1]]
    return np.where(weight > 0, mean, spread)


def _halved(plane: Plane) -> Plane:
    """Sums of 2 x 2, kept near one by a quarter; an odd edge is completed with nothing."""
    height, width = plane.shape
    even = np.zeros((height + height % 2, width + width % 2), np.float32)
    even[:height, :width] = plane
    return (even[0::2, 0::2] + even[0::2, 1::2] + even[1::2, 0::2] + even[1::2, 1::2]) * np.float32(0.25)
