"""The geometric self-ensemble: one window seen in its symmetries, and the mean of what the network makes of them.

Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPR Workshops 2017, section 3.4. Each
symmetry is a tile of its own, so that whatever counts, shares out or limits tiles counts eight passes as eight.
"""

import threading
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

SYMMETRIES = range(8)
"""Of the square: 4 transposes, then 2 mirrors top to bottom, then 1 mirrors left to right; 0 changes nothing."""
PASSES: Mapping[int, tuple[int, ...]] = {1: (0,), 2: (0, 6), 8: tuple(SYMMETRIES)}
"""The symmetries by number of passes; two are the picture and a quarter turn of it."""


def turned_back(picture: NDArray[np.float32], symmetry: int) -> NDArray[np.float32]:
    """A view of a turned (height, width) as it was before: (width, height) if the symmetry transposes."""
    if symmetry & 1:
        picture = picture[:, ::-1]
    if symmetry & 2:
        picture = picture[::-1]
    return picture.T if symmetry & 4 else picture


class Mean:
    """Adds up the cores of one window at every level, one for each symmetry, as they come, from any thread.

    The sums are those of a fixed tree, 8 leaves to 4 pairs to 2 halves to 1, so the result does not depend on who comes
    first. It pairs a symmetry with that one mirrored: turning the picture swaps branches, and float addition does not
    mind that. Eight times the same value adds up without rounding, so flat colours stay exact.
    """

    def __init__(self, symmetries: Sequence[int] = SYMMETRIES) -> None:
        """As many symmetries as a power of two."""
        self._symmetries = symmetries
        self._lock = threading.Lock()
        self._seen: set[tuple[int, int]] = set()
        self._sums: dict[tuple[int, int], NDArray[np.float32]] = {}

    def add(self, level: int, symmetry: int, core: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Counts a core, turned back, and copied if it has to wait; `out` holds the mean once all are there.

        Until then `out` is where one half waits. A core that comes again, as after a worker was given up, is ignored.
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
