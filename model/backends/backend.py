"""What describes a backend, a way to compute the folded network: its needs, how it is built, and its tile shapes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from model.config import LapSRNConfig
from model.weights import Parameters

Tiles: TypeAlias = NDArray[np.float32]
Compute: TypeAlias = Callable[[Tiles, int], list[Tiles]]
"""From luma with the window's margin (N, H + 2m, W + 2m), 0..1, and a number of levels to [(N, 2H, 2W), ...]."""


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tile shapes and batch sizes that suit a backend on one kind of device, in source pixels.

    The fields are those of the engine's configuration.
    """

    tile_widths: tuple[int, ...]
    """Widths that a tile's core can have, ascending."""
    max_batch_tiles: int
    max_batch_pixels: int
    """Core pixels in one batch; a single tile is always allowed."""
    tile_heights: tuple[int, ...] = ()
    """Heights, if they are not the same as the widths."""
    tall_heights: tuple[int, ...] = ()
    """Further ones, for networks whose margins are wide."""
    tile_overhead: float = 1.0
    """What a tile costs along an axis beyond its core, in margins."""
    split_above_idle: int = 66
    """While nothing else is under way, tiles with more pixels along an axis are cut so that every worker has one. Other
    than 66 only where a pixel is bit for bit the same in a tile of any shape."""
    fill_batches: bool = False
    """Compute every batch at full size, because kernels, and with them the rounding, depend on the size."""
    warm_up: Literal["smallest", "tiles", "shapes"] = "tiles"
    """What to run before the first picture: a tile of each size, or every shape of a batch; the smallest tile of the
    first network where shapes need no preparation and a network is soon made."""


@dataclass(frozen=True, slots=True)
class Backend:
    """One row of the list. `name` is what LAPSRN_BACKEND asks for."""

    name: str
    description: str
    needs: str
    """The dtype, machine and network that it is for."""
    dtypes: tuple[str, ...]
    """Dtypes of the features that it supports, the preferred one first."""
    tilings: Mapping[str, Tiling]
    """By kind of device ("cpu", "cuda"); it runs on these only."""
    lacks: Callable[[LapSRNConfig], str | None]
    """What it needs of a network or of this machine and does not find, as a phrase; None if nothing is lacking."""
    build: Callable[[Parameters, LapSRNConfig, str, str], Compute]
    """Takes a network's parameters and config, a device, and a dtype."""
    shared: bool
    """Whether what it builds for a CPU is read-only at run time, so that one copy serves all workers."""
    network_mib: Callable[[LapSRNConfig], int] = lambda config: 8
    """Memory of the host that a network takes, once where it is shared."""
    worker_mib: int = 8
    """The same for every worker: buffers, kept from batch to batch."""
    library_mib: int = 0
    """The same of the libraries that it brings."""
    window_margin: Callable[[LapSRNConfig], int] = lambda config: config.margin
    """Source pixels that its tiles have on each side of their cores: the network's margin, or more."""
    prepare_thread: Callable[[int], None] = lambda threads: None
    """To be called in the thread of every worker, with the number of CPU threads that it may use inside."""

    def memory(self, networks: Sequence[LapSRNConfig], workers: int) -> int:
        """Bytes of the host's memory that warm networks take in all of their workers."""
        copies = 1 if self.shared else workers
        each = [self.network_mib(config) * copies + self.worker_mib * workers for config in networks]
        return self.library_mib + sum(each) << 20

    def why_not(self, config: LapSRNConfig, device: str, dtype: str) -> str | None:
        """The reason why it cannot compute a network on a device in a dtype; None if it can."""
        if _kind(device) not in self.tilings:
            return f"it runs on {' and '.join(self.tilings)}, not on {device}"
        if dtype not in self.dtypes:
            return f"it computes in {' or '.join(self.dtypes)}, not in {dtype}"
        return self.lacks(config)

    def tiling(self, device: str) -> Tiling:
        """The tile shapes for a device, which must be of a kind that it runs on."""
        return self.tilings[_kind(device)]


def _kind(device: str) -> str:
    """ "cuda" for "cuda:1"."""
    return device.partition(":")[0]
