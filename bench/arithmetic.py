"""The work of a picture: floating-point operations without any margins, and as the engine cuts it into tiles."""

from app.engine import EngineConfig
from app.engine.tiles import cut_axes
from model.arithmetic import tile_flops
from model.config import NEIGHBOURS, LapSRNConfig
from model.weights import NetworkInfo


def useful_flops(config: LapSRNConfig, height: int, width: int) -> int:
    """A tile's operations without any margin: what a picture of that size would take if borders were free."""
    per_pixel = len(NEIGHBOURS) * config.width
    for level in range(config.levels):
        following = 4 * config.width if level + 1 < config.levels else 0
        per_pixel += 4**level * 9 * config.width * ((config.depth_of_levels[level] - 1) * config.width + 4 + following)
    return 2 * per_pixel * height * width


def engine_flops(network: NetworkInfo, engine: EngineConfig, height: int, width: int, workers: int) -> int:
    """What the engine computes for one plane: every tile that it cuts, the network's margins included."""
    config = network.config
    cutting = engine.cutting(network, config.scale, workers, idle=True)
    rows, columns = cut_axes(height, width, cutting)
    return sum(tile_flops(config, row.size, column.size) for row in rows for column in columns)
