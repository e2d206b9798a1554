"""The folded network in bfloat16 on AMX, the matrix unit of Intel's servers: amx.c, compiled when this is installed.

Features are bfloat16 between layers, sums float32, and the image branch is float32 throughout. A core comes out bit for
bit the same whatever tile it is part of. Only a few rows of each layer are kept, so that they stay in the cache.
"""

import ctypes
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.backends.kernels import CACHE_LINE, CHANNELS, MAX_CONVS, MAX_LEVELS, Array, ConvPointers, unfit, values_of
from model.config import LapSRNConfig
from model.cpu import has_amx
from model.folding import Folded

LIBRARY = Path(__file__).with_name("_amx.so")
TILE_INPUTS, TILE_OUTPUTS = 32, 16
FLAT_PIXELS = 8


class _Level(ctypes.Structure):
    _fields_ = [
        ("convs", ConvPointers * MAX_CONVS),
        ("residual", ConvPointers),
        ("following", ConvPointers * 4),
        ("image", ctypes.c_void_p),
        ("flat", ctypes.c_void_p),
    ]


class _Network(ctypes.Structure):
    _fields_ = [
        ("skips", ctypes.c_int32),
        ("convs", ctypes.c_int32 * MAX_LEVELS),
        ("margin", ctypes.c_int32),
        ("slope", ctypes.c_float),
        ("entry", ConvPointers),
        ("level", _Level * MAX_LEVELS),
    ]


class AmxNetwork:
    """A folded network as amx.c runs it; not changed by running, so any number of threads may.

    Networks narrower than 64 features are filled up with zeros. Raises OSError where amx.c is not compiled or the
    machine has no AMX.
    """

    def __init__(self, network: Folded) -> None:
        self._library = _library()
        self._kept: list[NDArray[np.uint8]] = []
        convs = (ctypes.c_int32 * MAX_LEVELS)(*(len(level.convs) for level in network.levels))
        self._network = _Network(network.skips, convs, network.margin, network.slope)
        self._network.entry = self._entry(*values_of(network.entry))
        for i, level in enumerate(network.levels):
            struct = self._network.level[i]
            for j, conv in enumerate(level.convs):
                struct.convs[j] = self._conv(*values_of(conv))
            struct.residual = self._conv(*values_of(level.residual), made=TILE_OUTPUTS)
            if level.following is not None:
                values = (np.split(each, 4) for each in values_of(level.following))
                for j, phase in enumerate(zip(*values, strict=True)):
                    struct.following[j] = self._conv(*phase)
            struct.image = self._keep(values_of(level.image)[0])
            struct.flat = self._keep(np.zeros((1 << i, FLAT_PIXELS, 4), np.float32))
        side = 1 + 2 * network.margin
        for i in range(len(network.levels)):  # a level's answer to a flat picture shows when those before it give none
            answer = self(np.zeros((1, side, side), np.float32), i + 1)[i]
            phases = answer.reshape(1 << i, 2, 1 << i, 2).swapaxes(1, 2).reshape(1 << i, 1 << i, 4)
            self._network.level[i].flat = self._keep(np.tile(phases, (1, FLAT_PIXELS >> i, 1)))

    def __call__(self, tiles: NDArray[np.float32], levels: int) -> list[NDArray[np.float32]]:
        """Luma with its margin (N, H + 2m, W + 2m), 0..1, to [(N, 2H, 2W), (N, 4H, 4W), ...], as many as `levels`."""
        tiles = np.ascontiguousarray(tiles, np.float32)
        height, width = (side - 2 * self._network.margin for side in tiles.shape[1:])
        outputs = [np.empty((len(tiles), height << i, width << i), np.float32) for i in range(1, levels + 1)]
        network = ctypes.byref(self._network)
        memory = np.empty(self._library.lapsrn_memory(network, levels, height, width), np.uint8)
        for i, tile in enumerate(tiles):
            cores = (ctypes.c_void_p * levels)(*(output[i].ctypes.data for output in outputs))
            self._library.lapsrn_run(network, levels, height, width, tile.ctypes.data, cores, memory.ctypes.data)
        return outputs

    def _conv(self, weight: Array, bias: Array, seen: int = CHANNELS, made: int = CHANNELS) -> ConvPointers:
        """(O, C, k, k) and (O,) in amx.c's layout, filled up with zeros to `seen` inputs and `made` outputs."""
        outputs, inputs, size, _ = weight.shape
        weight = np.pad(weight, [(0, made - outputs), (0, seen - inputs), (0, 0), (0, 0)])
        in_pass = min(made // TILE_OUTPUTS, 2)
        tiles = weight.reshape(-1, in_pass, TILE_OUTPUTS, seen // TILE_INPUTS, TILE_INPUTS // 2, 2, size * size)
        packed = _bfloat16(tiles.transpose(0, 6, 3, 1, 4, 2, 5))
        return ConvPointers(self._keep(packed), self._keep(np.pad(bias, (0, made - outputs))))

    def _entry(self, weight: Array, bias: Array) -> ConvPointers:
        """Each difference comes as the sum of two bfloat16, and so do the weights: products are exact to 2^-16."""
        high = (_bfloat16(weight).astype(np.uint32) << 16).view(np.float32)
        return self._conv(np.concatenate([high, high, weight - high], axis=1), bias, seen=TILE_INPUTS)

    def _keep(self, values: NDArray[np.float32] | NDArray[np.uint16]) -> int:
        """The address of a copy that starts at a cache line."""
        array = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        memory = np.empty(array.size + CACHE_LINE, np.uint8)
        start = -memory.ctypes.data % CACHE_LINE
        copy = memory[start : start + array.size]
        copy[:] = array
        self._kept.append(copy)
        return copy.ctypes.data


def lacks(config: LapSRNConfig) -> str | None:
    """What amx.c needs of a network or of this machine and does not find, as a phrase; None if nothing is lacking."""
    return unfit(config, "amx.c") or missing()


def missing() -> str | None:
    """What amx.c needs of this machine and does not find, as a phrase; None if it can run here."""
    try:
        _library()
    except OSError as error:
        return str(error)
    return None


@cache
def _library() -> ctypes.CDLL:
    if not has_amx():
        raise OSError("this CPU has no AMX, or the system does not let this process use it")
    try:
        library = ctypes.CDLL(str(LIBRARY))
    except OSError as error:
        raise OSError(f"amx.c is not compiled, or cannot be loaded ({error})") from None
    library.lapsrn_memory.restype = ctypes.c_size_t
    number, address = ctypes.c_int, ctypes.c_void_p
    library.lapsrn_memory.argtypes = [address, number, number, number]
    library.lapsrn_run.argtypes = [address, number, number, number, address, address, address]
    library.lapsrn_run.restype = None
    return library


def _bfloat16(values: Array) -> NDArray[np.uint16]:
    """Rounded to nearest, ties to even, as bits."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
