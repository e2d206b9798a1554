"""How many floating point operations the folded network takes; a multiplication and an addition are two."""

from app.engine import EngineConfig
from app.engine.tiles import cut_axis, sizes_for
from model.arithmetic import tile_flops
from model.config import NEIGHBOURS, LapSRNConfig


def useful_flops(config: LapSRNConfig, height: int, width: int) -> int:
    """A tile's operations without any margin: what a picture of that size would take if borders were free."""
    per_pixel = len(NEIGHBOURS) * config.width
    for level in range(config.levels):
        following = 4 * config.width if level + 1 < config.levels else 0
        per_pixel += 4**level * 9 * config.width * ((config.depth_of_levels[level] - 1) * config.width + 4 + following)
    return 2 * per_pixel * height * width


def engine_flops(
    config: LapSRNConfig, engine: EngineConfig, window_margin: int, height: int, width: int, workers: int
) -> int:
    """What the engine computes for one plane: every tile that it cuts, the network's margins included."""
    overhead = engine.overhead(window_margin)
    sizes = engine.tile_sizes(config.scale, window_margin)
    edges = sizes_for(height, width, sizes, overhead, workers, engine.split_above_idle)
    rows, columns = (cut_axis(side, each, overhead) for side, each in zip((height, width), edges, strict=True))
    return sum(tile_flops(config, row.size, column.size) for row in rows for column in columns)
