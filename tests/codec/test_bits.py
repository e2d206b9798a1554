"""Reading the bit fields of headers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.codec.bits import Bits


@given(st.binary(min_size=1, max_size=40), st.lists(st.integers(0, 70), max_size=12))
def test_numbers_are_read_from_the_highest_bit_down(data: bytes, sizes: list[int]) -> None:
    text, bits = "".join(f"{byte:08b}" for byte in data), Bits(data)
    for size in sizes:
        if size > len(text):
            with pytest.raises(IndexError):
                bits.f(size)
            return
        assert bits.f(size) == int(text[:size] or "0", 2)
        text = text[size:]


def test_reading_more_bits_than_there_are_raises_an_error() -> None:
    with pytest.raises(IndexError):
        Bits(bytes(8)).f(1 << 60)
