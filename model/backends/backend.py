"""What a backend is: a way to compute the folded network, what it asks for, and which tiles suit it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from model.backends.torch_network import Tiles, TorchNetwork
from model.folded import FoldedLapSRN
from model.network import LapSRNConfig

Compute: TypeAlias = Callable[[Tiles, int], list[Tiles]]
"""Luma with its margin (N, H + 2m, W + 2m), 0..1, and how many levels, to [(N, 2H, 2W), (N, 4H, 4W), ...]."""


@dataclass(frozen=True, slots=True)
class Tiling:
    """Which tiles suit a backend on a kind of device, in the words of whoever cuts pictures. Sizes in source pixels."""

    tile_widths: tuple[int, ...]
    """Widths that a tile's core can have, ascending."""
    max_batch_tiles: int
    max_batch_pixels: int
    """Core pixels in one batch; a single tile is always allowed."""
    tile_heights: tuple[int, ...] = ()
    """Its heights, where they are not the same as its widths."""
    tile_overhead: float = 1.0
    """What a tile costs along an axis beyond its core, in margins."""
    split_above_idle: int = 66
    """On an idle machine a tile is cut further, so that every worker has one, if it has more pixels along an axis."""
    fill_batches: bool = False
    """Every batch is to be full, as kernels, and so the rounding, are chosen by its size."""
    warm_up: Literal["tiles", "shapes"] = "tiles"
    """What is worth running before the first picture comes: a tile of each size, or every shape of a batch."""


@dataclass(frozen=True, slots=True)
class Backend:
    """One row of the list. `name` is what LAPSRN_BACKEND asks for."""

    name: str
    description: str
    needs: str
    """The dtype, machine and network that it is for, in a few words."""
    dtypes: tuple[str, ...]
    """What it can compute features in, the one that suits it best first."""
    tilings: Mapping[str, Tiling]
    """For each kind of device that it runs on: "cpu", "cuda"."""
    lacks: Callable[[LapSRNConfig], str | None]
    """What the network or this machine does not have of what it needs, in a few words; None if nothing."""
    build: Callable[[FoldedLapSRN, TorchNetwork, str], Compute]
    """From the folded network, the same in full precision on the device, and a dtype, what computes its tiles."""
    shared: bool
    """Whether what it builds for a CPU is not changed by running, so that all workers can run the same."""

    def why_not(self, config: LapSRNConfig, device: str, dtype: str) -> str | None:
        """The reason why it cannot compute such a network there; None if it can."""
        if _kind(device) not in self.tilings:
            return f"it runs on {' and '.join(self.tilings)}, not on {device}"
        if dtype not in self.dtypes:
            return f"it computes in {' or '.join(self.dtypes)}, not in {dtype}"
        return self.lacks(config)

    def tiling(self, device: str) -> Tiling:
        """The tiles that suit it on a device that it runs on."""
        return self.tilings[_kind(device)]


def _kind(device: str) -> str:
    """ "cuda" for "cuda:1"."""
    return device.partition(":")[0]
