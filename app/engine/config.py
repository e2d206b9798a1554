"""The engine's limits and times."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Sizes are in source pixels, times in seconds.

    The defaults suit a CPU, where a batch should stay in the cache. Cores beyond 64x64 were no faster there, and each
    worker then keeps 150 MiB more for its buffers.
    """

    core_edges: tuple[int, ...] = (16, 32, 48, 64)
    """Heights and widths that a tile's core can have, ascending; the shapes are their pairs, so keep them few."""
    tile_overhead: float = 1.0
    """What a tile costs along an axis beyond its core, in margins; it decides between few large tiles and many small
    ones that cover no more than there is."""
    max_batch_tiles: int = 16
    max_batch_pixels: int = 128 * 128
    """Core pixels in one batch; a single tile is always allowed."""
    max_tiles: int = 8192
    """Tiles under way, waiting or being computed, beyond which requests are refused; a self-ensemble has eight times
    as many."""
    max_bytes: int = 2 * 2**30
    """Bytes of input and output planes under way beyond which requests are refused."""
    retry_seconds: float = 5.0
    """What a refused client is told to wait while no rate has been measured."""
    hang_seconds: float = 120.0
    """A worker whose network call takes longer is given up and replaced."""
    restart_seconds: float = 0.5
    """Wait before a worker is replaced; doubles with every death in a row."""
    restart_max_seconds: float = 30.0
    max_strikes: int = 2
    """A request fails when this many workers went down with one of its tiles."""
    memory_recovery_batches: int = 256
    """After so many good batches, a batch limit that lack of memory had halved is doubled again."""
    fill_batches: bool = False
    """Compute every batch as if it were full, for devices that choose kernels, and so the rounding, by its size: a tile
    then comes out the same whatever comes with it."""
    warm_up: Literal["nothing", "tiles", "batches", "shapes"] = "tiles"
    """What a worker runs before it is up: nothing (a command that serves one picture), one square tile of each size,
    the largest batches of them as well (devices that choose kernels by the batch's size), or every batch that can ever
    come (code is made for each, which takes time and memory, and neither should grow while pictures wait)."""
    progress_seconds: float = 0.1
    """Shortest time between two progress reports of one request."""

    def __post_init__(self) -> None:
        """Raise ValueError for values that cannot work."""
        if not self.core_edges or list(self.core_edges) != sorted(set(self.core_edges)) or self.core_edges[0] < 1:
            raise ValueError(f"core_edges must be ascending positive integers, not {self.core_edges}")
        for name in ("max_batch_tiles", "max_batch_pixels", "max_tiles", "max_bytes", "max_strikes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")

    def edges(self, scale: int) -> tuple[int, ...]:
        """The core edges for a scale: beyond x4 none that gives more output pixels than the largest does at x4."""
        return tuple(edge for edge in self.core_edges if edge * scale <= 4 * self.core_edges[-1]) or self.core_edges[:1]

    def overhead(self, margin: int) -> int:
        """The same in source pixels."""
        return round(self.tile_overhead * margin)

    @classmethod
    def for_device(cls, device: str, dtype: str = "float32") -> "EngineConfig":
        """Defaults for "cpu", or for an accelerator ("cuda:0"): larger tiles, and enough of them to fill it.

        In bfloat16 a core of 108 has rows of 124 and 226 features at the two levels, which oneDNN convolves fastest
        (docs/performance.md), and its buffers are half as large as in float32. oneDNN makes code for each shape of a
        batch, so there are few: smaller cores and larger batches were no faster.
        """
        if device == "cpu" and dtype != "float32":
            return cls(
                core_edges=(32, 48, 64, 108),
                tile_overhead=2.4,
                max_batch_tiles=2,
                max_batch_pixels=108 * 108,
                warm_up="shapes",
            )
        if device == "cpu":
            return cls()
        return cls(
            core_edges=(32, 64, 128, 256),
            max_batch_tiles=64,
            max_batch_pixels=2 * 256 * 256,
            fill_batches=True,
            warm_up="shapes",
        )
