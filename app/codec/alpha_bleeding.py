"""Colour under fully transparent pixels, taken from the visible ones around, so that no fringe grows at an edge."""

import numpy as np
from numpy.typing import NDArray

from app.codec.types import Plane


def bled(planes: list[Plane], visible: NDArray[np.bool_]) -> list[Plane]:
    """The planes with every invisible pixel replaced by a mean of visible ones near it; visible ones stay bit for bit.

    A pyramid: each level is the mean of the visible pixels around every 2 x 2 below, up to one pixel; holes are then
    filled from the level above (pull-push, Gortler et al., The Lumigraph, 1996, section 3.4). Linear in the pixels.
    Means overlap, and the filling is smooth: otherwise the colour beside an edge would depend on whether a block ends
    there, and the blocks would look like those of a JPEG.
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
    spread = _doubled(_filled(_halved(total), _halved(weight)))
    return np.where(weight > 0, mean, spread[: weight.shape[0], : weight.shape[1]])


def _halved(plane: Plane) -> Plane:
    """Means of the 4 x 4 around every 2 x 2, weighted 1, 3, 3, 1 along each axis; beyond the edges is nothing."""
    height, width = plane.shape
    rows = np.pad(plane, ((1, 1 + height % 2), (1, 1 + width % 2)))
    sums: Plane = (rows[1:-2:2] + rows[2:-1:2]) * 3 + rows[:-3:2] + rows[3::2]
    total: Plane = (sums[:, 1:-2:2] + sums[:, 2:-1:2]) * 3 + sums[:, :-3:2] + sums[:, 3::2]
    return total * np.float32(1 / 64)


def _doubled(plane: Plane) -> Plane:
    """The plane at twice its size, interpolated bilinearly."""
    height, width = plane.shape
    around = np.pad(plane, 1, mode="edge") / 16
    tall = np.empty((2 * height, width + 2), np.float32)
    np.add(around[1:-1] * 3, around[:-2], out=tall[0::2])
    np.add(around[1:-1] * 3, around[2:], out=tall[1::2])
    doubled = np.empty((2 * height, 2 * width), np.float32)
    np.add(tall[:, 1:-1] * 3, tall[:, :-2], out=doubled[:, 0::2])
    np.add(tall[:, 1:-1] * 3, tall[:, 2:], out=doubled[:, 1::2])
    return doubled
