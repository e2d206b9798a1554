"""What the service runs: networks from weights files as models that map a batch of tiles to a batch of tiles."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from model.backends.backend import Backend, Compute, Tiles
from model.backends.registry import choose
from model.config import LapSRNConfig
from model.memory import keep_freed_memory, return_freed_memory
from model.weights import NetworkInfo, Parameters, read_weights


class Runtime:
    """A network on one device, as one worker runs it. Not for several threads at once."""

    def __init__(self, info: NetworkInfo, full: Compute, served: Compute) -> None:
        """`full` computes the features in float32, `served` in `info.dtype`."""
        self.info = info
        self._full = full
        self._served = served

    def run(self, tiles: Tiles, scale: int, *, full_precision: bool = False) -> dict[int, Tiles]:
        """Tiles with `info.window_margin`, luma or alpha in 0..1, to their cores at every scale up to this one.

        (N, H + 2 margin, W + 2 margin) to {s: (N, H s, W s)}.
        Valid convolutions only, so a tile's core depends on nothing but the tile. `full_precision` computes the
        features in float32 whatever the dtype. Raises MemoryError when the device has no room for the batch.
        """
        network = self._full if full_precision else self._served
        scales = self.info.scales
        return dict(zip(scales, network(tiles, scales.index(scale) + 1), strict=False))

    def warm_up(self, shapes: Iterable[tuple[int, int, int]]) -> None:
        """Run once on each batch shape (N, H, W) of cores, so that no request pays for kernels being chosen."""
        margin = self.info.window_margin
        for count, height, width in shapes:
            self.run(np.zeros((count, height + 2 * margin, width + 2 * margin), np.float32), self.info.scales[-1])
        if self.info.device == "cpu":
            return_freed_memory()  # making the kernels took more than running them does


class _Computed(NamedTuple):
    """The two forms that a Runtime needs."""

    full: Compute
    served: Compute


class Weights:
    """A weights file, read and hashed once for all workers; thread-safe.

    Workers on a CPU share one copy of what a backend builds if it is read-only at run time.
    """

    def __init__(self, parameters: Parameters, info: NetworkInfo) -> None:
        self.info = info
        self._parameters = parameters
        self._shared: dict[tuple[str, str], _Computed] = {}
        self._sharing = threading.Lock()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read and check a file. Raises WeightsError if it is missing, corrupt or not of a LapSRN."""
        return cls(*read_weights(path))

    def runtime(self, device: str, dtype: str = "auto", backend: str = "auto") -> Runtime:
        """The network on a device, for one worker. dtype and backend are as in `choose`. Raises ValueError."""
        dtype, chosen = choose(self.info.config, device, dtype, backend)
        margin = chosen.window_margin(self.info.config)
        info = replace(self.info, device=device, dtype=dtype, backend=chosen.name, window_margin=margin)
        if device != "cpu" or not chosen.shared:
            return Runtime(info, *self._compute(device, dtype, chosen))
        key = dtype, chosen.name
        with self._sharing:
            if key not in self._shared:
                self._shared[key] = self._compute(device, dtype, chosen)
        return Runtime(info, *self._shared[key])

    def _compute(self, device: str, dtype: str, backend: Backend) -> _Computed:
        config = self.info.config
        build = partial(backend.build, self._parameters, config, device, dtype)
        served = _Deferred(build) if device == "cpu" else build()
        if dtype == "float32":
            return _Computed(served, served)
        return _Computed(_Deferred(partial(_full_precision, self._parameters, config, device, backend)), served)


def _full_precision(parameters: Parameters, config: LapSRNConfig, device: str, served: Backend) -> Compute:
    """A network in float32, of tiles with the margin that those of the served backend have."""
    full = served if "float32" in served.dtypes else choose(config, device, "float32").backend
    compute = full.build(parameters, config, device, "float32")
    beyond = full.window_margin(config) - served.window_margin(config)
    if not beyond:
        return compute
    around = [(0, 0), (beyond, beyond), (beyond, beyond)]  # seen by no pixel of the core
    return lambda tiles, levels: compute(np.pad(tiles, around, mode="edge"), levels)


class _Deferred:
    """What computes a network, made when it is first needed; thread-safe."""

    def __init__(self, make: Callable[[], Compute]) -> None:
        self._make = make
        self._made: Compute | None = None
        self._making = threading.Lock()

    def __call__(self, tiles: Tiles, levels: int) -> list[Tiles]:
        """As Compute."""
        with self._making:
            self._made = self._made or self._make()
        return self._made(tiles, levels)


def load(
    weights: Iterable[Weights], device: str, dtype: str = "auto", threads: int = 1, backend: str = "auto"
) -> dict[str, Runtime]:
    """One worker's networks on a device, by name, in the given order. `threads` is for CPUs.

    dtype and backend are as in `choose`. Raises ValueError.
    """
    if device == "cpu":
        keep_freed_memory()
    models = {}
    for each in weights:
        choose(each.info.config, device, dtype, backend).backend.prepare_thread(threads)
        models[each.info.name] = each.runtime(device, dtype, backend)
    return models
