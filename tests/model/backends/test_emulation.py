"""The emulation of AMX gives the bits of the hardware: as fractions say, and the hardware itself where there is one."""

import ctypes
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model.backends.amx import amx
from model.backends.amx.amx import AmxNetwork
from model.network import LapSRNConfig
from tests.model.backends import emulation
from tests.model.networks import folded_of, plane, random_network

Bits = NDArray[np.uint16]
Floats = NDArray[np.float32]

PROBE = emulation.HEADER.with_name("probe.c")
AMX_FOLDER = f"-I{emulation.SOURCE.parent}"
HARDWARE = ["-march=x86_64_v4", "-mavx512bf16", "-mamx-tile", "-mamx-bf16"]
SMALLEST = Fraction(1, 2**126)
"""The smallest normal number."""


@pytest.fixture(scope="module")
def probe() -> ctypes.CDLL:
    return loaded(*emulation.NATIVE, *emulation.CHECKED, AMX_FOLDER)


def loaded(*flags: str, emulate: bool = True) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(emulation.compiled(PROBE, *flags, emulate=emulate)))
    except OSError as error:
        pytest.skip(f"nothing compiles here: {str(error).splitlines()[-1]}")


def cpu_has(flag: str) -> bool:
    path = Path("/proc/cpuinfo")
    return path.is_file() and f" {flag} " in path.read_text().replace("\n", " ")


def address(array: NDArray[np.generic]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def product(library: ctypes.CDLL, sums: Floats, pixels: Bits, weights: Bits) -> Floats:
    result = sums.copy()
    library.probe_product(address(result), address(pixels), address(weights))
    return result


def bf16(values: NDArray[np.floating]) -> Bits:
    """Cut off, not rounded."""
    return (np.ascontiguousarray(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)


def numbers(seed: int, kind: str) -> tuple[Floats, Bits, Bits]:
    """Sums (16, 16), pixels (16, 32) and weights (16, 16, 2) of sizes that show one thing about rounding."""
    random = np.random.default_rng(seed)

    def made(*shape: int) -> Floats:
        values = random.standard_normal(shape)
        if kind in ("wide", "wider"):
            values *= (
                2.0 ** random.integers(-36, 36, shape) if kind == "wide" else 2.0 ** random.integers(-55, 55, shape)
            )
        if kind == "tiny":
            values *= 2.0 ** random.integers(-66, -58, shape)
        return values.astype(np.float32)

    sums = made(16, 16) * np.float32(2.0**-62 if kind == "tiny" else 1)
    return sums, bf16(made(16, 32)), bf16(made(16, 16, 2))


def rounded(exact: Fraction) -> Fraction:
    """To 24 bits, ties to even; zero if the result is smaller than any normal number."""
    if exact == 0:
        return exact
    exponent = abs(exact.numerator).bit_length() - exact.denominator.bit_length()
    exponent -= abs(exact) < Fraction(2) ** exponent
    unit = Fraction(2) ** (exponent - 23)
    nearest = round(exact / unit) * unit
    return nearest if abs(nearest) >= SMALLEST else Fraction(0)


def flushed(number: float) -> Fraction:
    exact = Fraction(number)
    return exact if abs(exact) >= SMALLEST else Fraction(0)


def by_fractions(sums: Floats, pixels: Bits, weights: Bits) -> Floats:
    """TDPBF16PS as Intel's manual has it."""
    left = [[flushed(float(value)) for value in row] for row in widened(pixels)]
    right = [[[flushed(float(value)) for value in pair] for pair in row] for row in widened(weights)]
    result = np.empty((16, 16), np.float32)
    for m in range(16):
        for n in range(16):
            halves = [Fraction(0), Fraction(0)]
            for k in range(16):
                for odd in (0, 1):
                    halves[odd] = rounded(halves[odd] + left[m][2 * k + odd] * right[k][n][odd])
            result[m, n] = float(rounded(flushed(float(sums[m, n])) + rounded(halves[0] + halves[1])))
    return result


def widened(bits: Bits) -> Floats:
    return (bits.astype(np.uint32) << 16).view(np.float32)


@pytest.mark.parametrize("kind", ["plain", "wide", "wider", "tiny"])
def test_products_are_rounded_and_flushed_as_specified(kind: str, probe: ctypes.CDLL) -> None:
    sums, pixels, weights = numbers(0, kind)
    expected = by_fractions(sums, pixels, weights)
    np.testing.assert_array_equal(product(probe, sums, pixels, weights), expected)
    if kind == "tiny":
        assert 0 < np.count_nonzero(expected) < expected.size, "some results are flushed, and some are not"
        assert np.any((np.abs(sums) < 2.0**-126) & (sums != 0)), "some sums are denormal"
    else:
        in_float = np.einsum("mko,kno->mn", widened(pixels).reshape(16, 16, 2), widened(weights)) + sums
        assert np.any(in_float != expected), "the order of the sums shows"


@pytest.mark.parametrize(
    ("terms", "before", "after"),
    [
        ([(1.0, 1.0), (2.0**-24, 1.0)], 0.0, 1.0),  # a tie goes to even
        ([(1.0, 1.0), (0.0, 0.0), (2.0**-24, 1.0), (0.0, 0.0), (2.0**-24, 1.0)], 0.0, 1.0),  # and each sum is rounded
        ([(0.0, 0.0), (2.0**-24, 1.0), (0.0, 0.0), (2.0**-24, 1.0)], 1.0, 1.0 + 2.0**-23),  # apart from what was there
        ([(2.0**-63, 2.0**-64)], 0.0, 0.0),  # a denormal result
        ([(2.0**-63, 2.0**-63)], 0.0, 2.0**-126),
        ([(2.0**-127, 2.0**100)], 1.0, 1.0),  # a denormal input
        ([(1.0, 0.0)], 2.0**-127, 0.0),  # a denormal sum
        ([(1.0, -(2.0**-64)), (1.0, 2.0**-64)], 0.0, 0.0),
        ([(2.0**100, 2.0**100)], 0.0, np.inf),
        ([(np.inf, 1.0), (-np.inf, 1.0)], 0.0, np.nan),
        ([(np.nan, 0.0)], 0.0, np.nan),
    ],
)
def test_single_sums_are_accumulated_as_specified(
    terms: list[tuple[float, float]], before: float, after: float, probe: ctypes.CDLL
) -> None:
    """Terms are inputs 0, 1, 2, ... of one output, even and odd ones by turns."""
    sums, pixels, weights = np.full((16, 16), before, np.float32), np.zeros((16, 32)), np.zeros((16, 16, 2))
    for k, (pixel, weight) in enumerate(terms):
        pixels[:, k], weights[k // 2, :, k % 2] = pixel, weight
    np.testing.assert_array_equal(product(probe, sums, bf16(pixels), bf16(weights)), np.float32(after))


def test_tiles_that_are_not_configured_end_the_process(probe: ctypes.CDLL) -> None:
    script = "import ctypes, sys; ctypes.CDLL(sys.argv[1]).probe_unconfigured(None)"
    done = subprocess.run([sys.executable, "-c", script, probe._name])
    assert done.returncode in (-signal.SIGILL, -signal.SIGTRAP)


@pytest.mark.skipif(not cpu_has("avx512_bf16"), reason="this CPU has no AVX-512 with bfloat16")
@pytest.mark.parametrize("seed", range(8))
def test_vector_instructions_equal_those_of_this_cpu(seed: int, probe: ctypes.CDLL) -> None:
    hardware = loaded(*HARDWARE, AMX_FOLDER, emulate=False)
    random = np.random.default_rng(seed)
    special = np.array([0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 1 + 2**-8, 1 + 3 * 2**-8, 3.4e38], np.float32)

    def mixed(*shape: int) -> Floats:
        values = (random.standard_normal(shape) * 2.0 ** random.integers(-20, 20, shape)).astype(np.float32)
        return np.where(random.random(shape) < 0.1, random.choice(special, shape), values)

    memory = np.empty(2 * 256 + 16, np.float32)
    start = -memory.ctypes.data % 64 // 4
    sums = memory[start : start + 512]
    sums[:] = mixed(512)
    before = bf16(mixed(16, 32))
    rows, kernels, residual, flat = mixed(3, 18), mixed(4, 9), mixed(16, 4), mixed(4, 4)
    results = []
    for library in (probe, hardware):
        finished, differences = np.zeros((16, 32), np.uint16), np.zeros(32, np.uint16)
        library.probe_finish(address(sums), ctypes.c_float(0.2), address(finished))
        added = before.copy()
        library.probe_finish_sum(address(sums), address(added))
        library.probe_differences(address(rows), address(differences))
        enlarged = np.zeros((17, 2, 32), np.float32)
        for pixels in range(1, 17):
            pictures = map(address, (rows, kernels, residual, flat))
            library.probe_image(*pictures, pixels, address(enlarged[pixels]))
        results.append((finished, added, differences, enlarged))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.skipif(amx.missing() is not None, reason=str(amx.missing()))
def test_the_emulated_network_equals_the_one_on_amx_hardware(probe: ctypes.CDLL) -> None:
    folded = folded_of(random_network(LapSRNConfig()))
    margin = LapSRNConfig().margin
    tile = plane(40 + 2 * margin, 35 + 2 * margin)[None]
    theirs = AmxNetwork(folded)(tile, 2)
    with emulation.emulated():
        ours = AmxNetwork(folded)(tile, 2)
    for got, expected in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(got, expected)
    hardware = loaded(*HARDWARE, AMX_FOLDER, emulate=False)
    for kind in ("plain", "wide", "wider", "tiny"):
        for seed in range(20):
            made = numbers(seed, kind)
            np.testing.assert_array_equal(product(probe, *made), product(hardware, *made))
