"""What the service runs: a weights file as a TileModel that maps a batch of tiles to a batch of tiles."""

import copy
import threading
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch

from model.backends.registry import by_name, choose
from model.backends.torch_network import Tiles, full_precision
from model.checkpoint import WeightsInfo, load_weights
from model.devices import exact_float32
from model.folded import centred
from model.memory import keep_freed_memory, return_freed_memory
from model.network import LapSRN


class Runtime:
    """One worker's copy of the network on one device. Not for several threads at once.

    `margin` is in source pixels on each side of a tile's core; `scales` are the enlargements that can be asked for.
    `companions` are other networks on the same device, for the same thread.
    """

    def __init__(self, network: LapSRN, name: str, device: str, dtype: str, backend: str = "torch") -> None:
        self.name = name
        self.device = device
        self.dtype = dtype
        self.backend = backend
        self.companions: list[Runtime] = []
        self.original: Runtime | None = None
        """Whose weights these are, which so live as long as anybody needs them."""
        self.margin = network.config.margin
        self.scales = network.config.scales
        with torch.no_grad():
            # On the CPU, where the result is the same each time: workers must not differ.
            folded = centred(network.cpu().fold())
        self._full = full_precision(folded, device)
        self._served = by_name(backend).build(folded, self._full, dtype)
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)  # what was made on the default stream is there before another one reads it

    def run(self, tiles: Tiles, scale: int, *, full_precision: bool = False) -> dict[int, Tiles]:
        """Tiles (N, H + 2 margin, W + 2 margin), luma or alpha in 0..1, to {s: (N, H s, W s)} for every s <= scale.

        Valid convolutions only, so a tile's core depends on nothing but the tile. `full_precision` computes the
        features in float32 whatever the dtype. Raises MemoryError when the device has no room for the batch.
        """
        network = self._full if full_precision else self._served
        try:
            return dict(zip(self.scales, network(tiles, self.scales.index(scale) + 1), strict=False))
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise MemoryError(str(error)) from error
        except RuntimeError as error:
            if "alloc" in str(error):  # the CPU allocator has no exception of its own
                raise MemoryError(str(error)) from error
            raise

    def warm_up(self, shapes: Iterable[tuple[int, int, int]]) -> None:
        """Run once on each batch shape (N, H, W) of cores, so that no request pays for kernels being chosen."""
        for count, height, width in shapes:
            tiles = np.zeros((count, height + 2 * self.margin, width + 2 * self.margin), np.float32)
            self.run(tiles, self.scales[-1])
        if self.device == "cpu":
            return_freed_memory()  # making the kernels took more than running them does


def load(
    path: Path,
    device: str,
    dtype: str = "auto",
    threads: int = 1,
    backend: str = "auto",
    companions: Iterable[Path] = (),
) -> Runtime:
    """The runtime of a weights file, with those of more files as its companions; `threads` is for CPUs.

    dtype and backend are as in `choose`, and may be "auto".

    Raises model.checkpoint.WeightsError when the file is missing, corrupt or not a LapSRN.
    """
    torch.set_num_threads(threads)
    exact_float32()
    if device == "cpu":
        keep_freed_memory()
    first, *others = (_loaded(file, device, dtype, backend) for file in (path, *companions))
    first.companions = others
    return first


_made: WeakValueDictionary[tuple[str, str, str, str], Runtime] = WeakValueDictionary()
"""Of CPUs, by hash and name of the file, and kernels."""
_making = threading.Lock()


def _loaded(path: Path, device: str, dtype: str, backend: str) -> Runtime:
    """The runtime of one file. On a CPU everybody reads the same weights: one copy is enough."""
    network, info = load_weights(path)
    chosen = choose(network.config, device, dtype, backend)
    if device != "cpu" or not chosen.backend.shared:
        return Runtime(network, path.stem, device, chosen.dtype, chosen.backend.name)
    key = (info.sha256, path.stem, chosen.dtype, chosen.backend.name)
    with _making:
        original = _made.get(key)
        if original is None:
            original = _made[key] = Runtime(network, path.stem, device, chosen.dtype, chosen.backend.name)
    mine = copy.copy(original)
    mine.original = original
    return mine


def describe(path: Path) -> dict[str, Any]:
    """What a weights file is, for people: name, scales, margin, sha256, config, scores, data, recipe."""
    network, info = load_weights(path)
    config = network.config
    about: WeightsInfo = info
    return {"name": path.stem, "scales": list(config.scales), "margin": config.margin} | asdict(about)
