"""How much work a tile is: floating point operations of the folded network, an addition being one of its own."""

from functools import lru_cache

from model.config import NEIGHBOURS, LapSRNConfig


@lru_cache(maxsize=4096)
def tile_flops(config: LapSRNConfig, height: int, width: int, scale: int = 0) -> int:
    """One tile's core of height x width with the margins that it really computes, on features.

    Of every level up to `scale`; 0: of all.
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
