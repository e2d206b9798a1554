"""The quality that a JPEG's luma was quantised with. (ITU-T T.81, annex K, and the scale of the IJG's libjpeg.)"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
"""Table K.1: the steps of quality 50, (vertical, horizontal) frequency."""


def table(quality: int) -> NDArray[np.int64]:
    """libjpeg's steps for luma at a quality from 1 to 100, (8, 8)."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    steps: NDArray[np.int64] = ((LUMA * scale + 50) // 100).clip(1, 255)
    return steps


def quality_of(steps: Sequence[int]) -> int:
    """The quality from 1 to 100 of 64 steps in any order: exact for libjpeg's tables, else by the mean of the steps."""
    known = _known().get(tuple(sorted(steps)))
    if known is not None:
        return known
    scale = 100 * float(np.mean(steps)) / float(LUMA.mean())
    quality = 5000 / scale if scale > 100 else 100 - scale / 2
    return round(min(max(quality, 1), 100))


@lru_cache(maxsize=1)
def _known() -> dict[tuple[int, ...], int]:
    return {tuple(sorted(table(quality).ravel().tolist())): quality for quality in range(1, 101)}
