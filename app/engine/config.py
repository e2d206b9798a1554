"""The engine's configuration: tile sizes, limits and timeouts."""

from dataclasses import dataclass
from typing import Literal

from app.engine.ports import NetworkInfo
from app.engine.tiles import Cutting, TileSizes

WarmUp = Literal["nothing", "smallest", "tiles", "shapes"]
MAX_MARGINS = 16
"""The maximum height of a tall tile's core, in window margins."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Sizes are in source pixels, times in seconds.

    The defaults of tiles and batches suit a CPU; the caller sets those of the backend in use.
    """

    tile_widths: tuple[int, ...] = (16, 32, 48, 64)
    """Core widths, ascending; also the heights unless `tile_heights` is set. Keep them few: shapes are all pairs."""
    tile_heights: tuple[int, ...] = ()
    """Core heights, ascending, where they differ from the widths."""
    tall_heights: tuple[int, ...] = ()
    """Additional heights, each only for networks whose window margin is at least 1/MAX_MARGINS of it, so that margins
    add about the same share of work for every network."""
    tile_overhead: float = 1.0
    """The cost of a tile along an axis in addition to its core, in window margins; it balances few large tiles against
    many small ones that fit the picture more closely."""
    split_above: int = 66
    """Cores longer than this many source pixels along an axis are split further if that gives every worker a tile."""
    split_above_idle: int = 66
    """The same while the engine is otherwise idle. It may differ from `split_above` only if a pixel's value does not
    depend on the tile, since a request must give the same bytes at any load."""
    max_batch_tiles: int = 16
    max_batch_pixels: int = 128 * 128
    """Core pixels in one batch; a single tile is always allowed."""
    max_tiles: int = 8192
    """Tiles, waiting or being computed, that one client alone may have; each pass of a self-ensemble counts. See
    app.shares for several clients."""
    max_bytes: int = 2 * 2**30
    """Bytes of input and output planes that one client alone may have in progress."""
    retry_seconds: float = 5.0
    """The Retry-After of a refusal before any rate was measured."""
    hang_seconds: float = 120.0
    """A worker whose network call takes longer counts as hung and is replaced."""
    restart_seconds: float = 0.5
    """Delay before a worker is replaced; doubles with every consecutive failure."""
    restart_max_seconds: float = 30.0
    max_failed_attempts: int = 2
    """A request fails after this many workers died or hung while they held one of its tiles."""
    memory_recovery_batches: int = 256
    """After this many successful batches, a batch limit that was halved for lack of memory is doubled again."""
    fill_batches: bool = False
    """Pad every batch to its full size, for devices that choose kernels, and thereby the rounding, by batch size: a
    tile's result then does not depend on the rest of the batch."""
    warm_up: WarmUp = "tiles"
    """What a worker runs before it is up: "nothing" (for a command that computes one picture), the "smallest" tile of
    the first network only, one square tile of each size ("tiles") for every network, or all batch shapes that can occur
    ("shapes", for devices that choose kernels by shape, which would delay the first picture of each)."""
    progress_seconds: float = 0.1
    """Minimum interval between two progress reports of one request."""

    def __post_init__(self) -> None:
        """Raises ValueError for invalid values."""
        heights = (self.tile_heights or self.tile_widths) + self.tall_heights
        for name, sizes in (("tile_widths", self.tile_widths), ("tile_heights and tall_heights", heights)):
            if not sizes or list(sizes) != sorted(set(sizes)) or sizes[0] < 1:
                raise ValueError(f"{name} must be ascending positive integers, not {sizes}")
        for name in ("max_batch_tiles", "max_batch_pixels", "max_tiles", "max_bytes", "max_failed_attempts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")

    def tile_sizes(self, scale: int, window_margin: int = 0) -> TileSizes:
        """The core sizes at a scale: beyond x4, none whose output is larger than that of the largest core at x4."""

        def fitting(sizes: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(size for size in sizes if size * scale <= 4 * sizes[-1]) or sizes[:1]

        tall = tuple(size for size in self.tall_heights if size <= MAX_MARGINS * window_margin)
        return TileSizes(fitting((self.tile_heights or self.tile_widths) + tall), fitting(self.tile_widths))

    def cutting(self, network: NetworkInfo, scale: int, workers: int, *, idle: bool) -> Cutting:
        """How planes are cut for a pass up to `scale`; `idle` is whether no other request is in progress."""
        return Cutting(
            self.tile_sizes(scale, network.window_margin),
            network.window_margin,
            overhead=round(self.tile_overhead * network.window_margin),
            workers=workers,
            split_above=self.split_above_idle if idle else self.split_above,
        )
