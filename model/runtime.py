"""What the service runs: networks from weights files as models that map a batch of tiles to a batch of tiles."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from model.backends.backend import Backend, Compute, Tiles
from model.backends.registry import choose
from model.config import LapSRNConfig
from model.memory import keep_freed_memory, return_freed_memory
from model.mixing import Line, begins_as
from model.weights import NetworkInfo, Parameters, read_weights

MOST_MIXES = 8
"""Mixed networks that are kept, over all networks served together: as built for a backend, each takes some MiB."""


class Mix(NamedTuple):
    """A strength of clean-up, 0 to 1, and the kind of picture that it is for.

    `compressed` says whether the picture has losses of compression: the two kinds may pass different waypoints.
    """

    strength: float = 0.0
    compressed: bool = True


class Runtime:
    """A network on one device, as one worker runs it. Not thread-safe."""

    def __init__(self, info: NetworkInfo, at: Callable[[Mix], "Computed"]) -> None:
        """`at` gives the network at a strength of clean-up, as a backend computes it."""
        self.info = info
        self._at = at
        self._plain = at(Mix())

    def run(
        self,
        tiles: Tiles,
        scale: int,
        *,
        full_precision: bool = False,
        clean: float = 0.0,
        compressed: bool = True,
    ) -> dict[int, Tiles]:
        """Tiles with `info.window_margin`, luma or alpha in 0..1, to their cores at every scale up to this one.

        (N, H + 2 margin, W + 2 margin) to {s: (N, H s, W s)}.
        Valid convolutions only, so a tile's core depends on nothing but the tile. `full_precision` computes the
        features in float32 whatever the dtype. `clean` is a strength of clean-up, 0 to 1, for pictures with or without
        losses of compression; its network is made when first needed. Raises MemoryError when the device has no room for
        the batch.
        """
        computed = self._at(Mix(clean, compressed)) if clean else self._plain
        network = computed.full if full_precision else computed.served
        scales = self.info.scales
        return dict(zip(scales, network(tiles, scales.index(scale) + 1), strict=False))

    def warm_up(self, shapes: Iterable[tuple[int, int, int]]) -> None:
        """Runs once on each batch shape (N, H, W) of cores, so that no request pays for kernels being chosen."""
        margin = self.info.window_margin
        for count, height, width in shapes:
            self.run(np.zeros((count, height + 2 * margin, width + 2 * margin), np.float32), self.info.scales[-1])
        if self.info.device == "cpu":
            return_freed_memory()  # making the kernels took more than running them does


class Computed(NamedTuple):
    """The two forms that a Runtime needs: features in float32, and in the dtype that is served."""

    full: Compute
    served: Compute


class _Mixes:
    """A cache of mixed networks, made when first needed; drops the least recently used. Thread-safe."""

    def __init__(self) -> None:
        self._made: OrderedDict[Hashable, Computed] = OrderedDict()
        self._making = threading.Lock()

    def at(self, key: Hashable, make: Callable[[], Computed]) -> Computed:
        """The network of a key; `make` makes it if it is not there."""
        with self._making:
            if key not in self._made:
                self._made[key] = make()
                if len(self._made) > MOST_MIXES:
                    self._made.popitem(last=False)
            self._made.move_to_end(key)
            return self._made[key]


class Weights:
    """A weights file, read and hashed once for all workers; thread-safe.

    Workers on a CPU share one copy of what a backend builds if it is read-only at run time.
    """

    def __init__(self, parameters: Parameters, info: NetworkInfo) -> None:
        self.info = info
        self._parameters = parameters
        self._clean_up: _CleanUp | None = None
        self._plain: dict[tuple[str, str], Computed] = {}
        self._sharing = threading.Lock()
        self._mixes = _Mixes()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Reads and checks a file. Raises WeightsError if it is missing, corrupt or not of a LapSRN."""
        return cls(*read_weights(path))

    def runtime(self, device: str, dtype: str = "auto", backend: str = "auto") -> Runtime:
        """The network on a device, for one worker. dtype and backend are as in `choose`. Raises ValueError."""
        dtype, chosen = choose(self.info.config, device, dtype, backend)
        margin = chosen.window_margin(self.info.config)
        info = replace(self.info, device=device, dtype=dtype, backend=chosen.name, window_margin=margin)
        kind, shared = (dtype, chosen.name), device == "cpu" and chosen.shared
        plain, mixes = (self._plain, self._mixes) if shared else ({}, _Mixes())

        def at(mix: Mix) -> Computed:
            if not mix.strength:
                with self._sharing:
                    if kind not in plain:
                        plain[kind] = self._compute(Mix(), device, dtype, chosen)
                    return plain[kind]
            if self._clean_up and not self._clean_up.differ(mix.strength):
                mix = Mix(mix.strength)
            return mixes.at((info.name, *kind, mix), lambda: self._compute(mix, device, dtype, chosen))

        return Runtime(info, at)

    def clean_with(self, end: "Weights", waypoints: Iterable["Weights"] = ()) -> None:
        """Makes `end`, of the same architecture as this network's first levels, its full strength of clean-up.

        `waypoints`, of the same architecture, lie between; one at full strength takes the place of `end` for its kind.
        """
        stops: dict[bool, dict[float, Parameters]] = {True: {}, False: {}}
        found: dict[str, str] = {}
        for each in waypoints:
            if each.info.waypoint:
                stops[each.info.waypoint.compressed][each.info.waypoint.strength] = each._parameters
                found[each.info.name] = each.info.sha256
        ends = {0.0: self._parameters, 1.0: end._parameters}
        self._clean_up = _CleanUp(*(Line.through(ends | stops[compressed]) for compressed in (True, False)))
        self.info = replace(self.info, strengths=end.info.strengths, waypoints=found)

    def share_mixes(self, other: "Weights") -> None:
        """Keeps mixed networks in one cache with those of another network of another name, served beside it."""
        self._mixes = other._mixes

    def begins_as(self, base: "Weights") -> bool:
        """Whether this network's first levels are all of `base`."""
        return begins_as(self._parameters, base._parameters)

    def _compute(self, mix: Mix, device: str, dtype: str, backend: Backend) -> Computed:
        """What is made later refers to the parameters, not to this object, which refers to it: cycles outlive use."""
        if mix.strength and self._clean_up is None:
            raise ValueError(f"{self.info.name} has no clean-up")
        parameters, config = partial(_mixed, self._parameters, self._clean_up, mix), self.info.config

        def build() -> Compute:
            return backend.build(parameters(), config, device, dtype)

        served = _Deferred(build) if device == "cpu" else build()
        if dtype == "float32":
            return Computed(served, served)
        return Computed(_Deferred(lambda: _full_precision(parameters(), config, device, backend)), served)


@dataclass(frozen=True, slots=True)
class _CleanUp:
    """The networks up to full strength of clean-up: for pictures with losses of compression, and for those without."""

    compressed: Line
    uncompressed: Line

    def differ(self, strength: float) -> bool:
        """Whether they have different networks at a strength."""
        (near, far, share), (other_near, other_far, other_share) = (
            line.between(strength) for line in (self.compressed, self.uncompressed)
        )
        return near is not other_near or far is not other_far or share != other_share


def _mixed(network: Parameters, clean_up: _CleanUp | None, mix: Mix) -> Parameters:
    if clean_up is None or not mix.strength:
        return network
    line = clean_up.compressed if mix.compressed else clean_up.uncompressed
    return {**network, **line.at(mix.strength)}  # levels beyond those that are mixed stay


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
    """A network that is built when it is first called; thread-safe."""

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
