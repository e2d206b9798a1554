"""The folded network in float32 with Winograd's convolutions: winograd.c, compiled for each kind of CPU.

A 3x3 convolution takes a quarter of the products of a direct one, in patches of 4x4 outputs (Lavin and Gray, CVPR
2016). A pixel comes out bit for bit the same whatever tile it is part of, as long as cores begin and end at multiples
of four.
"""

import ctypes
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model import cpu
from model.backends.kernels import CACHE_LINE, CHANNELS, MAX_CONVS, MAX_LEVELS, Array, ConvPointers, unfit, values_of
from model.config import LapSRNConfig
from model.folding import Folded

FOLDER = Path(__file__).parent
TARGETS = {
    "avx512": cpu.V4,
    "avx2": cpu.V3,
    "sse2": frozenset({"sse2"}),
    "neon": frozenset({"asimd"}),
}
"""What winograd.c is compiled for, the fastest first, with what the CPU must have, as Linux names it."""
PATCH, POINTS = 4, 36
PHASES = 4
SMALL, LARGE = 0.5**0.5, 2**0.5
KERNEL_POINTS = np.array(
    [
        [1, 0, 0],
        [-2 / 3, -2 / 3 * SMALL, -1 / 3],
        [-2 / 3, 2 / 3 * SMALL, -1 / 3],
        [1 / 6, LARGE / 6, 1 / 3],
        [1 / 6, -LARGE / 6, 1 / 3],
        [0, 0, 1],
    ]
)
"""G of F(4x4, 3x3): a kernel g has the points G g G^T."""

_scratch = threading.local()


class _Level(ctypes.Structure):
    _fields_ = [
        ("convs", ConvPointers * MAX_CONVS),
        ("residual", ConvPointers),
        ("following", ConvPointers),
        ("image", ctypes.c_void_p),
        ("flat", ctypes.c_void_p),
    ]


class _Network(ctypes.Structure):
    _fields_ = [
        ("levels", ctypes.c_int32),
        ("skips", ctypes.c_int32),
        ("convs", ctypes.c_int32 * MAX_LEVELS),
        ("slope", ctypes.c_float),
        ("entry", ConvPointers),
        ("level", _Level * MAX_LEVELS),
    ]


class WinogradNetwork:
    """A folded network as winograd.c runs it; not changed by running, so any number of threads may.

    `margin` is in source pixels on each side of a tile's core. It is larger than the network's own, since everything
    that a patch sees must be there. Networks narrower than 64 features are filled up with zeros. `target` is one of
    TARGETS. Raises OSError where winograd.c is not compiled for it or the CPU lacks it.
    """

    def __init__(self, network: Folded, target: str) -> None:
        self._library = _library(target)
        self._strip = self._library.lapsrn_strip()
        self._weights = _Arena(network)
        self._network = _struct([len(level.convs) for level in network.levels], network.skips)
        self._network.slope = network.slope
        self._network.entry = self._entry(*values_of(network.entry))
        for i, level in enumerate(network.levels):
            struct = self._network.level[i]
            for j, conv in enumerate(level.convs):
                struct.convs[j] = self._conv(*values_of(conv))
            struct.residual = self._residual(*values_of(level.residual))
            if level.following is not None:
                struct.following = self._conv(*values_of(level.following), phases=PHASES)
            struct.image = self._weights.keep(values_of(level.image)[0])
            period = PATCH << i
            struct.flat = self._weights.keep(np.zeros((period, period, PHASES), np.float32))
        self.margin: int = self._library.lapsrn_margin(ctypes.byref(self._network))
        side = PATCH + 2 * self.margin
        for i in range(len(network.levels)):  # a level's answer to a flat picture shows when those before it give none
            answer = self(np.zeros((1, side, side), np.float32), i + 1)[i][0]
            period = PATCH << i
            phases = answer.reshape(period, 2, period, 2).transpose(0, 2, 1, 3)
            self._network.level[i].flat = self._weights.keep(phases)

    def __call__(self, tiles: Array, levels: int) -> list[Array]:
        """Luma with its margin (N, H + 2m, W + 2m), 0..1, to [(N, 2H, 2W), (N, 4H, 4W), ...], as many as `levels`.

        If H or W is not a multiple of four, the last few rows or columns may differ in their last bits from those of a
        larger tile.
        """
        height, width = (side - 2 * self.margin for side in tiles.shape[1:])
        whole = height + -height % PATCH, width + -width % PATCH
        if whole != (height, width):
            tiles = np.pad(tiles, [(0, 0), (0, whole[0] - height), (0, whole[1] - width)], mode="edge")
        tiles = np.ascontiguousarray(tiles, np.float32)
        outputs = [np.empty((len(tiles), whole[0] << i, whole[1] << i), np.float32) for i in range(1, levels + 1)]
        network = ctypes.byref(self._network)
        memory = _memory(self._library.lapsrn_memory(network, levels, *whole))
        for i, tile in enumerate(tiles):
            cores = (ctypes.c_void_p * levels)(*(output[i].ctypes.data for output in outputs))
            self._library.lapsrn_run(network, levels, *whole, tile.ctypes.data, cores, memory.ctypes.data)
        return [output[:, : height << i, : width << i] for i, output in enumerate(outputs, 1)]

    def _conv(self, weight: Array, bias: Array, phases: int = 1) -> ConvPointers:
        """(phases O, C, 3, 3) and (phases O,) in winograd.c's layout, filled up with zeros to 64 outputs and inputs."""
        points = (KERNEL_POINTS @ weight.astype(np.float64) @ KERNEL_POINTS.T).astype(np.float32)
        filled = _filled(points.reshape(phases, -1, weight.shape[1], POINTS), 1, 2)
        strips = filled.reshape(-1, self._strip, CHANNELS, POINTS)
        biases = _filled(bias.reshape(phases, -1), 1)
        return ConvPointers(self._weights.keep(strips.transpose(0, 3, 2, 1)), self._weights.keep(biases))

    def _residual(self, weight: Array, bias: Array) -> ConvPointers:
        """(4, C, 3, 3) and (4,)."""
        lanes = self._strip // 2
        parts = _filled(weight, 1).reshape(PHASES, CHANNELS // lanes, lanes, 9)
        return ConvPointers(self._weights.keep(parts.transpose(3, 1, 0, 2)), self._weights.keep(bias))

    def _entry(self, weight: Array, bias: Array) -> ConvPointers:
        """(O, 8, 1, 1) and (O,)."""
        return ConvPointers(self._weights.keep(_filled(weight[:, :, 0, 0].T, 1)), self._weights.keep(_filled(bias, 0)))


class _Arena:
    """Copies of a network's weights, each from the start of a cache line on, in one piece of memory.

    Of that size numpy asks for huge pages, which makes the whole network 2% faster.
    """

    def __init__(self, network: Folded) -> None:
        self._memory = np.empty(_weights_bytes([len(level.convs) for level in network.levels]), np.uint8)
        self._used = -self._memory.ctypes.data % CACHE_LINE

    def keep(self, values: Array) -> int:
        """The address of a copy."""
        array = np.ascontiguousarray(values, np.float32).reshape(-1).view(np.uint8)
        copy = self._memory[self._used : self._used + array.size]
        copy[:] = array
        self._used += -(-array.size // CACHE_LINE) * CACHE_LINE
        return copy.ctypes.data


def lacks(config: LapSRNConfig, target: str) -> str | None:
    """What winograd.c needs of a network or of this machine and does not find, as a phrase; None if all is there."""
    if (reason := unfit(config, "winograd.c")) is not None:
        return reason
    try:
        _library(target)
    except OSError as error:
        return str(error)
    return None


def network_mib(config: LapSRNConfig) -> int:
    """Memory that a network takes: its transformed weights, and what they were made of."""
    return 4 + (_weights_bytes(_convs(config)) >> 20)


def margin(config: LapSRNConfig, target: str) -> int:
    """Source pixels that a tile has on each side of its core. Raises OSError as WinogradNetwork does."""
    network = _struct(_convs(config), config.skips)
    found: int = _library(target).lapsrn_margin(ctypes.byref(network))
    return found


def _convs(config: LapSRNConfig) -> list[int]:
    """From 64 to 64 features in each level: without its first one, which is the entry or part of what goes before."""
    return [depth - 1 for depth in config.depth_of_levels]


def _weights_bytes(convs: Sequence[int]) -> int:
    """Bytes for the weights of a network with these numbers of convolutions from 64 to 64 features by level."""
    levels = len(convs)
    # As if each level, and the first layer, had one more: more than all that is not 64 to 64 channels takes.
    count = sum(convs) + PHASES * (levels - 1) + levels + 1
    return count * (POINTS + 1) * CHANNELS**2 * np.dtype(np.float32).itemsize


def _struct(convs: Sequence[int], skips: bool) -> _Network:
    """A network with these numbers of convolutions from 64 to 64 features by level, without weights."""
    return _Network(len(convs), skips, (ctypes.c_int32 * MAX_LEVELS)(*convs))


@cache
def _library(target: str) -> ctypes.CDLL:
    lacking = TARGETS[target] - cpu.features()
    if lacking:
        raise OSError(f"this CPU lacks {', '.join(sorted(lacking))}")
    try:
        library = ctypes.CDLL(str(FOLDER / f"_{target}.so"))
    except OSError as error:
        raise OSError(f"winograd.c is not compiled for {target}, or cannot be loaded ({error})") from None
    number, address = ctypes.c_int, ctypes.c_void_p
    library.lapsrn_strip.argtypes = []
    library.lapsrn_margin.argtypes = [address]
    library.lapsrn_memory.argtypes, library.lapsrn_memory.restype = [address, number, number, number], ctypes.c_size_t
    library.lapsrn_run.argtypes = [address, number, number, number, address, address, address]
    library.lapsrn_run.restype = None
    return library


def _memory(size: int) -> NDArray[np.uint8]:
    """This thread's, kept for its next tile: fresh pages cost more than clean ones."""
    memory: NDArray[np.uint8] | None = getattr(_scratch, "memory", None)
    if memory is None or memory.size < size:
        memory = _scratch.memory = np.empty(size, np.uint8)
    return memory


def _filled(values: Array, *axes: int) -> Array:
    """Zeros added along these axes, up to 64."""
    return np.pad(values, [(0, CHANNELS - size if axis in axes else 0) for axis, size in enumerate(values.shape)])
