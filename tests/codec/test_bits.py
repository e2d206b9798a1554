"""Numbers of headers, bit by bit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.codec.bits import Bits


@given(st.binary(min_size=1, max_size=40), st.lists(st.integers(0, 70), max_size=12))
def test_numbers_follow_each_other_from_the_highest_bit_down(data: bytes, sizes: list[int]) -> None:
    text, bits = "".join(f"{byte:08b}" for byte in data), Bits(data)
    for size in sizes:
        if size > len(text):
            with pytest.raises(IndexError):
                bits.f(size)
            return
        assert bits.f(size) == int(text[:size] or "0", 2)
        text = text[size:]


def test_a_number_of_more_bits_than_there_are_is_refused_at_once() -> None:
    with pytest.raises(IndexError):
        Bits(bytes(8)).f(1 << 60)
