"""The work of a tile: floating-point operations of the folded network; a multiplication and an addition are two."""

from functools import lru_cache

from model.config import NEIGHBOURS, LapSRNConfig


@lru_cache(maxsize=4096)
def tile_flops(config: LapSRNConfig, height: int, width: int, scale: int = 0) -> int:
    """Operations on features for a tile with a core of `height` x `width`, in the margins that it really computes, too.

    They are those of every level up to `scale`; 0 stands for all levels.
    """
    levels = (scale or config.scale).bit_length() - 1
    height, width = height + 2 * config.margin - 2, width + 2 * config.margin - 2
    total = height * width * len(NEIGHBOURS) * config.width
    for level in range(levels):
        for _ in range(config.depth_of_levels[level] - 1):
            height, width = height - 2, width - 2
            total += height * width * 9 * config.width**2
        total += (height - 2) * (width - 2) * 9 * config.width * 4
        if level + 1 < levels:
            total += (height - 2) * (width - 2) * 9 * config.width * 4 * config.width
            height, width = 2 * (height - 2), 2 * (width - 2)
    return 2 * total
