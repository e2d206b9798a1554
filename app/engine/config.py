"""The engine's limits and times."""

from dataclasses import dataclass
from typing import Literal

from app.engine.ports import NetworkInfo
from app.engine.tiles import Cutting, TileSizes

WarmUp = Literal["nothing", "smallest", "tiles", "shapes"]
MOST_MARGINS = 16
"""The most window margins that a tall tile's core is high."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Sizes are in source pixels, times in seconds.

    The defaults of tiles and batches suit a CPU; the caller sets those of the backend in use.
    """

    tile_widths: tuple[int, ...] = (16, 32, 48, 64)
    """Widths that a tile's core can have, and heights, ascending; the shapes are their pairs, so keep them few."""
    tile_heights: tuple[int, ...] = ()
    """Its heights, where they are not the same as its widths."""
    tall_heights: tuple[int, ...] = ()
    """Further heights, each for networks whose windows have margins of at least a sixteenth of it: what margins add to
    the work is then much the same for every network."""
    tile_overhead: float = 1.0
    """What a tile costs along an axis beyond its core, in margins; it decides between few large tiles and many small
    ones that cover no more than there is."""
    split_above: int = 66
    """Tiles are cut further so that every worker has one, unless they have at most so many source pixels along both
    axes."""
    split_above_idle: int = 66
    """The same while nothing else is under way. Not the same number only where a pixel is the same in any tile, since a
    request must give the same bytes at any load."""
    max_batch_tiles: int = 16
    max_batch_pixels: int = 128 * 128
    """Core pixels in one batch; a single tile is always allowed."""
    max_tiles: int = 8192
    """Tiles that one client alone may have under way, waiting or being computed; a self-ensemble has eight times as
    many. See app.shares for several clients."""
    max_bytes: int = 2 * 2**30
    """Bytes of input and output planes that one client alone may have under way."""
    retry_seconds: float = 5.0
    """Retry-After of a refusal while no rate has been measured."""
    hang_seconds: float = 120.0
    """A worker whose network call takes longer is given up and replaced."""
    restart_seconds: float = 0.5
    """Wait before a worker is replaced; doubles with every death in a row."""
    restart_max_seconds: float = 30.0
    max_failed_attempts: int = 2
    """A request fails when this many workers went down with one of its tiles."""
    memory_recovery_batches: int = 256
    """After so many good batches, a batch limit that lack of memory had halved is doubled again."""
    fill_batches: bool = False
    """Compute every batch as if it were full, for devices that choose kernels, and so the rounding, by its size: a tile
    then comes out the same whatever comes with it."""
    warm_up: WarmUp = "tiles"
    """What a worker runs before it is up: nothing (a command that serves one picture, and makes a network when it is
    needed), the smallest tile of the first network (others are made when they are needed, too), or of every network one
    square tile of each size or every batch that can ever come (kernels are chosen for each, for which no picture should
    wait)."""
    progress_seconds: float = 0.1
    """Shortest time between two progress reports of one request."""

    def __post_init__(self) -> None:
        """Raises ValueError for values that cannot work."""
        heights = (self.tile_heights or self.tile_widths) + self.tall_heights
        for name, sizes in (("tile_widths", self.tile_widths), ("tile_heights and tall_heights", heights)):
            if not sizes or list(sizes) != sorted(set(sizes)) or sizes[0] < 1:
                raise ValueError(f"{name} must be ascending positive integers, not {sizes}")
        for name in ("max_batch_tiles", "max_batch_pixels", "max_tiles", "max_bytes", "max_failed_attempts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")

    def tile_sizes(self, scale: int, window_margin: int = 0) -> TileSizes:
        """What cores can be at a scale: beyond x4 none that gives more output pixels than the largest does at x4."""

        def fitting(sizes: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(size for size in sizes if size * scale <= 4 * sizes[-1]) or sizes[:1]

        tall = tuple(size for size in self.tall_heights if size <= MOST_MARGINS * window_margin)
        return TileSizes(fitting((self.tile_heights or self.tile_widths) + tall), fitting(self.tile_widths))

    def cutting(self, network: NetworkInfo, scale: int, workers: int, *, idle: bool) -> Cutting:
        """How planes are cut for a pass up to `scale`; `idle`: nothing else is under way."""
        return Cutting(
            self.tile_sizes(scale, network.window_margin),
            network.margin,
            network.window_margin,
            overhead=round(self.tile_overhead * network.window_margin),
            workers=workers,
            split_above=self.split_above_idle if idle else self.split_above,
        )
