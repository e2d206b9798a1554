"""Every deflate encoder against zlib's decoder, and the project's own against the hardest inputs."""

import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from isal import isal_zlib

from app.codec import native
from app.codec.deflate import huffman, isal, libdeflate, zlib_ng
from app.codec.types import Bytes

SIZES = (1, 2, 3, 4, 5, 17, 65535, 65536, 65537, 200_000)


def fibonacci() -> Bytes:
    """Bytes whose frequencies give the deepest Huffman tree, of 23 bits, more than deflate allows."""
    counts = [1, 1]
    while sum(counts) < 60_000:
        counts.append(counts[-1] + counts[-2])
    return np.repeat(np.arange(len(counts)), counts).astype(np.uint8)


def contents(size: int) -> list[Bytes]:
    random = np.random.default_rng(size)
    return [
        np.zeros(size, np.uint8),
        np.full(size, 255, np.uint8),
        random.integers(0, 256, size, np.uint8),
        random.normal(0, 3, size).astype(np.int8).view(np.uint8),
        np.minimum(random.geometric(0.7, size), 255).astype(np.uint8),
        (2 ** random.integers(0, 8, size)).astype(np.uint8),
    ]


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("inflate", [zlib.decompressobj, isal_zlib.decompressobj], ids=["zlib", "ISA-L"])
def test_whole_and_joined_streams_inflate_to_the_input(size: int, inflate: Callable[..., "zlib._Decompress"]) -> None:
    for raw in contents(size):
        assert inflate(-15).decompress(huffman(raw)) == raw.tobytes()
        pieces = huffman(raw, last=False) + isal(raw, 2, last=False) + huffman(raw, last=False) + huffman(raw)
        decoder = inflate(-15)
        assert decoder.decompress(pieces + b"after") == raw.tobytes() * 4
        assert decoder.eof
        assert decoder.unused_data == b"after"


@pytest.mark.usefixtures("compiled")
def test_a_code_tree_that_is_too_deep_is_flattened() -> None:
    raw = fibonacci()
    assert zlib.decompressobj(-15).decompress(huffman(raw)) == raw.tobytes()
    assert len(huffman(raw)) < raw.size / 3


@pytest.mark.skipif(native.library() is None, reason="huffman.c is not compiled here")
@given(st.lists(st.tuples(st.integers(0, 255), st.integers(1, 3000)), min_size=1, max_size=300), st.booleans())
def test_any_bytes_survive_compression(runs: list[tuple[int, int]], last: bool) -> None:
    raw = np.repeat([value for value, _ in runs], [count for _, count in runs]).astype(np.uint8)
    decoder = zlib.decompressobj(-15)
    assert decoder.decompress(huffman(raw, last)) == raw.tobytes()
    assert decoder.eof == last


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("length", [*range(7, 19), *range(257, 267), *range(515, 522), 65_535, 65_536, 140_000])
def test_runs_of_zeros_become_matches(length: int) -> None:
    """Matches have 3 to 258 bytes, so the rest of a run must not be shorter; and runs may begin anywhere."""
    noise = np.random.default_rng(length).integers(1, 256, 100, np.uint8)
    zeros = np.zeros(length, np.uint8)
    for before in range(12):
        raw = np.concatenate([noise[:before], zeros, noise, zeros[: length // 2], noise])
        body = huffman(raw)
        assert zlib.decompressobj(-15).decompress(body) == raw.tobytes()
        assert length < 500 or len(body) < 500 + length // 80  # three bytes for 258 zeros, plus the codes of each block


@pytest.mark.usefixtures("compiled")
def test_random_bytes_grow_only_slightly() -> None:
    raw = np.random.default_rng(0).integers(0, 256, 300_000, np.uint8)
    assert len(huffman(raw)) < 1.01 * raw.size


@pytest.mark.parametrize(("encode", "level"), [(isal, 2), (isal, 3), (libdeflate, 2), (libdeflate, 6), (zlib_ng, 5)])
def test_the_other_encoders_write_raw_deflate(encode: Callable[[Bytes, int], bytes], level: int) -> None:
    for raw in contents(70_000):
        decoder = zlib.decompressobj(-15)
        assert decoder.decompress(encode(raw, level)) == raw.tobytes()
        assert decoder.eof
