"""The geometric self-ensemble: the mean of a network's results over the symmetries of a window.

Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPR Workshops 2017, section 3.4. Each
symmetry is a separate tile, so that eight passes count as eight for scheduling and limits.
"""

import threading
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

SYMMETRIES = range(8)
"""The symmetries of the square, as bits: 4 transposes, then 2 flips top to bottom, then 1 flips left to right."""
PASSES: Mapping[int, tuple[int, ...]] = {1: (0,), 2: (0, 6), 8: tuple(SYMMETRIES)}
"""Number of passes -> symmetries; two passes are the picture and a quarter turn of it."""


def turned_back(picture: NDArray[np.float32], symmetry: int) -> NDArray[np.float32]:
    """A view of a transformed (height, width) with the symmetry undone: (width, height) if the symmetry transposes."""
    if symmetry & 1:
        picture = picture[:, ::-1]
    if symmetry & 2:
        picture = picture[::-1]
    return picture.T if symmetry & 4 else picture


class Mean:
    """Averages the cores of one window at every level, one core per symmetry, added in any order from any thread.

    The cores are added in a fixed tree, 8 leaves to 4 pairs to 2 halves to 1, so the result does not depend on the
    order of arrival. Siblings are a symmetry and its mirror image: turning the picture only swaps branches, and float
    addition is commutative. Eight equal values add up without rounding, so flat colours stay exact.
    """

    def __init__(self, symmetries: Sequence[int] = SYMMETRIES) -> None:
        """The number of symmetries is a power of two."""
        self._symmetries = symmetries
        self._lock = threading.Lock()
        self._seen: set[tuple[int, int]] = set()
        self._sums: dict[tuple[int, int], NDArray[np.float32]] = {}

    def add(self, level: int, symmetry: int, core: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Adds a core, with its symmetry undone, copying it if it has to wait. Once all are added, `out` is the mean.

        Until then, `out` stores one of the halves. A core that was added before (a worker was replaced) is ignored.
        """
        with self._lock:
            if (level, symmetry) in self._seen:
                return
            self._seen.add((level, symmetry))
            count = len(self._symmetries)
            node = count + self._symmetries.index(symmetry)  # in a heap: the parent is node // 2, the sibling node ^ 1
            while node > 1:
                other = self._sums.pop((level, node ^ 1), None)
                if other is None:
                    self._sums[level, node] = _keep(core, out) if node < 4 else core.copy()
                    return
                core = core + other
                node //= 2
            np.divide(core, np.float32(count), out=out)


def _keep(core: NDArray[np.float32], out: NDArray[np.float32]) -> NDArray[np.float32]:
    out[...] = core
    return out
